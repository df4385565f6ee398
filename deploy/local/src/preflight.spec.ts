import { describe, expect, test } from '@jest/globals';
import { readConfig } from './config.js';
import { whyNoPrometheus } from './packages.js';
import { makePlan, preflightText, workOf } from './preflight.js';
import type { Choice, Choices } from './rungs.js';

const own: Choice = { rung: 'own', why: 'no Docker engine answers' };
const choices: Choices = {
  broker: own,
  database: { rung: 'given', why: 'MESH_POSTGRES_URL is set' },
  cluster: own,
  s3: own,
};
const build = {
  name: 'kwok',
  what: 'build kwok from Go modules',
  inputs: [],
  cost: { minutes: 1.2, megabytes: 65 },
  make: async () => {},
};

describe('the preflight', () => {
  test('says for each component where it comes from and why', () => {
    const lines = preflightText(choices, []).split('\n');
    expect(lines).toHaveLength(4);
    expect(lines[1]).toMatch(/database +given address +MESH_POSTGRES_URL is set/);
  });

  test('lists what has to be done first, with minutes and megabytes and their sums', () => {
    const text = preflightText(choices, workOf({ packages: ['rabbitmq-server'], builds: [build] }));
    expect(text).toMatch(/install rabbitmq-server .* 1 min +100 MB/);
    expect(text).toMatch(/build kwok .* 2 min +65 MB/);
    expect(text).toMatch(/together +3 min +165 MB/);
  });

  test('installs no Prometheus in place of the one that was named, and says what is wrong with it', async () => {
    const given: Choice = { rung: 'given', why: 'it is set' };
    const config = readConfig({ MESH_PROMETHEUS: '/nowhere' });
    const servers = { broker: given, database: given, cluster: given, s3: given };
    const plan = await makePlan(config, servers, { monitoring: true, realNode: false });
    expect(plan.packages).toEqual([]);
    expect(whyNoPrometheus(config)).toBe('MESH_PROMETHEUS=/nowhere holds no prometheus and promtool');
  });
});
