import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { Database } from '#persistence/index.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { HostNameRepository } from './host-name.repository.js';
import { plannerMigrations } from './planner.migration.js';

let server: TestDatabase;
let database: Database;
const names = new HostNameRepository();
const [one, other] = [newId(), newId()];

beforeAll(async () => {
  server = await createTestDatabase('names');
  database = await Database.open({
    ...{ url: server.url, schema: server.schema, applicationName: 'names spec' },
    migrations: plannerMigrations,
  });
});
afterAll(async () => {
  await database?.close();
  await server?.drop();
});

const custom = (...hosts: string[]) => hosts.map((host) => ({ host, custom: true }));
const take = (instanceId: string, wanted: ReturnType<typeof custom>, reservation = 'r1') =>
  database.transaction((tx) => names.takeAll(tx, wanted, instanceId, reservation));
const of = async (instanceId: string) =>
  (await database.transaction((tx) => names.of(tx, instanceId))).map(({ host }) => host).sort();

test('names are taken all or none, and what was taken before stays', async () => {
  expect(await take(one, custom('a.example', 'b.example'))).toBeUndefined();
  expect(await take(other, custom('z.example'))).toBeUndefined();
  expect(await take(other, [{ host: 'below.mesh', custom: false }, ...custom('c.example', 'b.example')])).toBe(
    'b.example',
  );
  expect([await of(one), await of(other)]).toEqual([['a.example', 'b.example'], ['z.example']]);
  // Whoever has it may take it again, under another reservation.
  expect(await take(one, custom('b.example'), 'r2')).toBeUndefined();
  const held = await database.transaction((tx) => names.of(tx, one));
  expect(held).toContainEqual({ host: 'b.example', custom: true, reservation: 'r2', rests: false });
  expect(held).toContainEqual({ host: 'a.example', custom: true, reservation: 'r1', rests: false });
});

test('what rests after somebody is not taken, and what was released is', async () => {
  await database.transaction((tx) => names.takeAll(tx, [{ host: 'rests.mesh', custom: false }], one, 'r1'));
  await database.transaction((tx) => names.rest(tx, 'rests.mesh', one, 30));
  expect(await take(other, [{ host: 'rests.mesh', custom: false }])).toBe('rests.mesh');
  await database.transaction((tx) => names.release(tx, 'a.example', one));
  expect(await take(other, custom('a.example'))).toBeUndefined();
});

test('of many who want the same names at once, in whatever order, one has them all', async () => {
  const wanted = ['m.example', 'n.example', 'o.example', 'p.example'];
  const many = Array.from({ length: 16 }, () => newId());
  const taken = await Promise.all(
    many.map((instanceId, at) => take(instanceId, custom(...(at % 2 ? wanted : wanted.toReversed())))),
  );
  expect(taken.filter((lacking) => lacking === undefined)).toHaveLength(1);
  const held = await Promise.all(many.map(of));
  expect(held.filter((hosts) => hosts.length > 0)).toEqual([wanted]);
});
