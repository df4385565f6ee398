import { describe, expect, test } from '@jest/globals';
import { formatEnv, parseEnv, type StackEnv } from './env-file.js';

const env: StackEnv = {
  MESH_RABBITMQ_URL: 'amqp://admin:s3cret@127.0.0.1:20001',
  MESH_RABBITMQ_MANAGEMENT_URL: 'http://admin:s3cret@127.0.0.1:20002',
  MESH_POSTGRES_URL: 'postgres://mesh_admin:s3cret@127.0.0.1:20003/postgres',
  MESH_KUBECONFIG: '/var/tmp/x/cluster/kubeconfig',
  MESH_S3_ENDPOINT: 'http://127.0.0.1:20006',
  MESH_S3_REGION: 'eu-central-1',
  MESH_S3_ROOT_ACCESS_KEY: 'root',
  MESH_S3_ROOT_SECRET_KEY: 's3cret',
  MESH_STATE: '/var/tmp/x',
  MESH_STORAGE_CLASS: 'mesh-local',
  MESH_NODES: 'kwok',
};

describe('the environment file', () => {
  test.each([
    ['without Jaeger', env],
    [
      'with Jaeger',
      { ...env, MESH_OTLP_ENDPOINT: 'http://127.0.0.1:20004', MESH_JAEGER_URL: 'http://127.0.0.1:20005' },
    ],
  ])('gives back what was written, %s', (_, written) => {
    expect(parseEnv(formatEnv(written))).toEqual(written);
  });

  test('has one assignment a line, as a shell reads it', () => {
    expect(formatEnv(env).split('\n')[0]).toBe('MESH_RABBITMQ_URL=amqp://admin:s3cret@127.0.0.1:20001');
  });

  test.each(['a b', '$(id)', 'a;b', '`id`', "it's", 'a\nb'])(
    'refuses %j, which a shell would not take as it is',
    (value) => {
      expect(() => formatEnv({ ...env, MESH_POSTGRES_URL: value })).toThrow('MESH_POSTGRES_URL');
    },
  );

  test('names what is missing', () => {
    expect(() => parseEnv('MESH_NODES=kwok\n')).toThrow(/MESH_RABBITMQ_URL.*MESH_STORAGE_CLASS/);
  });
});
