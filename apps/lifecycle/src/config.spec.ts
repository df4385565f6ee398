import { expect, it } from '@jest/globals';
import { readConfig } from './config.js';

const environment = {
  MESH_AMQP_URL: 'amqp://mesh-lifecycle:x@localhost/mesh',
  MESH_DATABASE_URL: 'postgres://mesh_lifecycle:x@localhost/mesh_mesh',
  MESH_KUBECONFIG: '/etc/mesh/kubeconfig',
  MESH_SHARD_URLS: 'one=postgres://m:x@localhost/postgres,two=postgres://m:x@localhost/postgres',
  MESH_STORAGE_CLASS: 'fast',
};
const disks = (text: string) => readConfig({ ...environment, MESH_SHARD_DISKS: text }).MESH_SHARD_DISKS;

it('disks of shards are sizes by name, and those that are not named are not known', () => {
  expect(readConfig(environment).MESH_SHARD_DISKS).toEqual({});
  expect(disks('one=500Gi')).toEqual({ one: 500 * 1024 ** 3 });
  expect(disks('one=1.5Ti,two=100000')).toEqual({ one: 1.5 * 1024 ** 4, two: 100_000 });
});

it.each(['one', 'one=', 'one=much', 'one=5ki', 'one=1Gi,one=2Gi', '=1Gi', 'three=1Gi'])('%j is refused', (text) =>
  expect(() => disks(text)).toThrow('MESH_SHARD_DISKS'),
);
