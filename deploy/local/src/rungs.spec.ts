import { describe, expect, test } from '@jest/globals';
import { type Circumstances, chooseRungs } from './rungs.js';

const bare: Circumstances = {
  given: {
    brokerUrl: undefined,
    brokerManagementUrl: undefined,
    databaseUrl: undefined,
    kubeconfig: undefined,
    s3: undefined,
    otlpEndpoint: undefined,
    jaegerUrl: undefined,
  },
  running: {},
  docker: { missing: 'no Docker engine answers' },
};
const withDocker: Circumstances = { ...bare, docker: { version: '29.1' } };
const withDatabase = { ...bare.given, databaseUrl: 'postgres://elsewhere' };

describe('the ladder', () => {
  test.each<[string, Circumstances, string, string]>([
    ['a bare machine', bare, 'own', 'no Docker engine answers'],
    ['a machine with Docker', withDocker, 'docker', 'Docker 29.1 answers'],
    ['an address in the environment', { ...withDocker, given: withDatabase }, 'given', 'MESH_POSTGRES_URL is set'],
    ['Docker that came up later', { ...withDocker, running: { database: 'own' } }, 'own', 'already running'],
  ])('takes for %s the rung it should, and says why', (_, circumstances, rung, why) => {
    expect(chooseRungs(circumstances).database).toEqual({ rung, why });
  });

  test('is climbed for each component by itself', () => {
    const choices = chooseRungs({ ...withDocker, given: withDatabase, running: { cluster: 'own' } });
    expect([choices.broker.rung, choices.database.rung, choices.cluster.rung]).toEqual(['docker', 'given', 'own']);
  });
});
