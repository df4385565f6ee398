import { expect, it } from '@jest/globals';
import { readConfig } from './config.js';

const environment = {
  MESH_AMQP_URL: 'amqp://mesh-capacity-planner:x@localhost/mesh',
  MESH_DATABASE_URL: 'postgres://mesh_capacity_planner:x@localhost/mesh_mesh',
  MESH_KUBECONFIG: '/etc/mesh/kubeconfig',
  MESH_DOMAIN: 'example.com',
  MESH_SHARDS: 'local=100',
};

it('the edge is an address with a port, or is not there', () => {
  expect(readConfig(environment).MESH_EDGE_ADDRESS).toBeUndefined();
  expect(readConfig({ ...environment, MESH_EDGE_ADDRESS: '10.43.7.7:80' }).MESH_EDGE_ADDRESS).toEqual({
    address: '10.43.7.7',
    port: 80,
  });
});

it.each(['edge.mesh-system:80', '10.43.7.7', '10.43.7:80', '10.43.7.777:80', '10.43.7.7:0', '10.43.7.7:70000', ':80'])(
  '%s is no address of the edge',
  (address) => expect(() => readConfig({ ...environment, MESH_EDGE_ADDRESS: address })).toThrow('MESH_EDGE_ADDRESS'),
);

it('shards and the object store are networks with a port, each with its usual one when nothing is said', () => {
  const { MESH_DATABASE_NETWORKS, MESH_OBJECT_STORE_NETWORKS } = readConfig({
    ...environment,
    MESH_DATABASE_NETWORKS: '10.9.0.10/32',
    MESH_OBJECT_STORE_NETWORKS: '10.9.2.0/28,10.9.3.4/32:9000',
  });
  expect(MESH_DATABASE_NETWORKS).toEqual([{ cidr: '10.9.0.10/32', port: 5432 }]);
  expect(MESH_OBJECT_STORE_NETWORKS).toEqual([
    { cidr: '10.9.2.0/28', port: 443 },
    { cidr: '10.9.3.4/32', port: 9000 },
  ]);
  expect(readConfig(environment).MESH_OBJECT_STORE_NETWORKS).toEqual([]);
  const wrong = { ...environment, MESH_OBJECT_STORE_NETWORKS: 's3.example.com:443' };
  expect(() => readConfig(wrong)).toThrow('MESH_OBJECT_STORE_NETWORKS');
});
