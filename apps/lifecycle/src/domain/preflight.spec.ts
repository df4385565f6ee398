import { describe, expect, it, test } from '@jest/globals';
import { findPlan } from '#odoo/index.js';
import { type Check, checksOf, lackOf, type Room } from './preflight.js';

const MiB = 1024 ** 2;
const plan = findPlan('trial')!;
/** Of an Odoo on this plan by itself. */
const opened = plan.databasePool + 4;

const demand = { pods: 1, 'requests.memory': 320 * MiB, 'limits.memory': 768 * MiB, 'requests.cpu': 0.1 };
const own = { pods: 1, 'requests.memory': 160 * MiB, 'limits.memory': 384 * MiB, 'requests.cpu': 0.05 };
const shard: Room['shard'] = {
  name: 'one',
  databaseBytes: 100 * MiB,
  disk: { bytes: 1_000 * MiB, takenBytes: 900 * MiB },
  connections: { most: 100, taken: 100 - opened, ofTenant: 0, tenantLimit: plan.databaseConnections },
};
const room: Room = {
  volume: { name: 'v', bytes: 1_024 * MiB, filesBytes: 960 * MiB },
  shard,
  quotas: [],
  update: demand,
  own,
};
const quota = (hard: object, used: object, name = 'q') =>
  ({ name, hard: { ...hard }, used: { ...used } }) as Room['quotas'][number];
const one = (change: Partial<Room>, check: Check['check']) =>
  checksOf({ ...room, ...change }, plan).find((all) => all.check === check)!;

test('what fits to the last byte and connection is begun', () => {
  const checks = checksOf({ ...room, quotas: [quota({ 'requests.memory': 320 * MiB }, own)] }, plan);
  expect(checks.map(({ check, verdict }) => [check, verdict])).toEqual([
    ['volume', 'fits'],
    ['shard-disk', 'fits'],
    ['memory', 'fits'],
    ['connections', 'fits'],
  ]);
  expect(lackOf(checks)).toBeUndefined();
});

test('files beside which no bundles have room ask for a larger plan first', () => {
  const volume = { ...room.volume, filesBytes: 961 * MiB };
  expect(one({ volume }, 'volume')).toMatchObject({
    verdict: 'lacking',
    message:
      'its files are 961 MiB, an update writes up to 64 MiB, volume v has 1024 MiB: resize it to a larger plan first',
  });
  expect(lackOf(checksOf({ ...room, volume }, plan))).toMatchObject({ code: 'VOLUME_FULL', fault: 'user' });
});

test('a shard without room for another copy says so', () => {
  const fuller = { ...shard, disk: { bytes: 1_000 * MiB, takenBytes: 900 * MiB + 1 } };
  expect(one({ shard: fuller }, 'shard-disk').message).toMatch(/takes 100 MiB, shard one has 1000 MiB .* 901 MiB are/);
  expect(lackOf(checksOf({ ...room, shard: fuller }, plan))).toMatchObject({
    code: 'SHARD_DISK_FULL',
    fault: 'platform',
  });
});

test('a disk of which nobody has said how large it is, is not checked, and nothing is lacking', () => {
  const unknown = { ...shard, disk: undefined };
  expect(one({ shard: unknown }, 'shard-disk')).toMatchObject({
    verdict: 'not-checked',
    message: expect.stringContaining('MESH_SHARD_DISKS'),
  });
  expect(lackOf(checksOf({ ...room, shard: unknown }, plan))).toBeUndefined();
});

describe('quotas', () => {
  const verdictOf = (...quotas: Room['quotas']) => one({ quotas }, 'memory');

  it('count the instance’s own pod as gone', () => {
    const full = quota({ pods: 3 }, { pods: 3 });
    expect(verdictOf(full).verdict).toBe('not-checked');
    expect(one({ quotas: [full], own: {} }, 'memory')).toMatchObject({
      verdict: 'lacking',
      message: expect.stringMatching(/asks for 1 of pods, quota q has 3, 3 are taken/),
    });
  });

  it.each([
    ['requests.memory', 1_000 * MiB, 841 * MiB, /320 MiB of requests.memory, quota q has 1000 MiB, 681 MiB/],
    ['limits.memory', 1_000 * MiB, 617 * MiB, /768 MiB of limits.memory/],
    ['requests.cpu', 1, 0.951, /0.1 of requests.cpu, quota q has 1, 0.901 are/],
  ])('of %s refuse what is more than they have', (resource, hard, used, message) => {
    const found = verdictOf(quota({ [resource]: hard }, { [resource]: used }));
    expect(found).toMatchObject({ verdict: 'lacking', message: expect.stringMatching(message) });
    expect(lackOf([found])).toMatchObject({ code: 'CELL_FULL', fault: 'platform' });
  });

  it('of cores are not lacking for what sums of fractions are off by', () => {
    const cores = quota({ 'requests.cpu': 0.3, 'requests.memory': 1e12 }, { 'requests.cpu': 0.25 });
    expect(verdictOf(cores).verdict).toBe('fits');
  });

  it('are all heeded, and what they say nothing of is not', () => {
    const wide = quota({ 'requests.memory': 1e12 }, {}, 'wide');
    expect(verdictOf(wide, quota({ 'limits.memory': MiB }, {}, 'narrow'))).toMatchObject({
      verdict: 'lacking',
      message: expect.stringContaining('narrow'),
    });
    expect(verdictOf(wide, quota({ services: 0 }, { services: 0 })).verdict).toBe('fits');
  });

  it('that say nothing of memory are no word that there is some', () => {
    expect(verdictOf().verdict).toBe('not-checked');
    expect(verdictOf(quota({ pods: 10 }, { pods: 1 })).verdict).toBe('not-checked');
  });
});

describe('connections', () => {
  const verdictOf = (change: Partial<Room['shard']['connections']>) =>
    one({ shard: { ...shard, connections: { ...shard.connections, ...change } } }, 'connections');

  it('of others leave too few', () => {
    const found = verdictOf({ taken: 101 - opened });
    expect(found).toMatchObject({
      verdict: 'lacking',
      message: expect.stringContaining(`up to ${opened} connections`),
    });
    expect(lackOf([found])).toMatchObject({ code: 'TOO_FEW_CONNECTIONS', fault: 'platform' });
  });

  it('of the instance itself are free by then', () =>
    expect(verdictOf({ taken: 103 - opened, ofTenant: 3 }).verdict).toBe('fits'));

  it('are as few as its role may have', () => {
    expect(verdictOf({ tenantLimit: opened }).verdict).toBe('fits');
    expect(verdictOf({ tenantLimit: -1 }).verdict).toBe('fits');
    expect(verdictOf({ tenantLimit: opened - 1 })).toMatchObject({
      verdict: 'lacking',
      message: expect.stringContaining(`CONNECTION LIMIT to ${plan.databaseConnections}`),
    });
  });
});

test('all that is lacking is said at once, under the code of the first', () => {
  const lack = lackOf(
    checksOf({ ...room, volume: { ...room.volume, filesBytes: 2_000 * MiB }, quotas: [quota({ pods: 0 }, {})] }, plan),
  );
  expect(lack).toMatchObject({ code: 'VOLUME_FULL', message: expect.stringMatching(/its files .*; the update asks/) });
});

test('no message is longer than a fact may hold', () => {
  const many = Array.from({ length: 100 }, (_, n) => quota({ pods: 0, 'limits.memory': 0 }, {}, `quota-${n}`));
  const checks = checksOf({ ...room, quotas: many }, plan);
  for (const { message } of [...checks, lackOf(checks)!]) expect(message.length).toBeLessThanOrEqual(2_000);
});
