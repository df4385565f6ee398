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
