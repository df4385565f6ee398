import { expect, it } from '@jest/globals';
import { readConfig } from './config.js';

const environment = {
  MESH_AMQP_URL: 'amqp://mesh-provisioner:x@localhost/mesh',
  MESH_DATABASE_URL: 'postgres://mesh_provisioner:x@localhost/mesh_mesh',
  MESH_KUBECONFIG: '/etc/mesh/kubeconfig',
  MESH_SHARD_URLS: 'local=postgres://mesh_shard:x@localhost/postgres',
  MESH_STORAGE_CLASS: 'ceph',
};

it('a certificate needs https, which is what there is when nothing is said', () => {
  expect(readConfig({ ...environment, MESH_TLS_SECRET: 'wildcard' })).toMatchObject({ MESH_URL_SCHEME: 'https' });
  const contradiction = { ...environment, MESH_TLS_SECRET: 'wildcard', MESH_URL_SCHEME: 'http' };
  expect(() => readConfig(contradiction)).toThrow('with it MESH_URL_SCHEME has to be https');
});

it('with a certificate the router is asked by TLS: nothing else leads to an instance', () => {
  const secure = { ...environment, MESH_TLS_SECRET: 'wildcard' };
  expect(() => readConfig({ ...secure, MESH_ROUTER_URL: 'http://traefik:80' })).toThrow('MESH_ROUTER_URL');
  expect(readConfig({ ...secure, MESH_ROUTER_URL: 'https://traefik:443' })).toBeDefined();
  expect(readConfig({ ...environment, MESH_ROUTER_URL: 'http://traefik:80' })).toBeDefined();
});

it.each(['', 'Wildcard', 'a/b', '-a', 'a b'])('%j is not the name of a Secret', (secret) => {
  expect(() => readConfig({ ...environment, MESH_TLS_SECRET: secret })).toThrow('MESH_TLS_SECRET');
});
