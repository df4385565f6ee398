import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { isUnavailable } from '#persistence/index.js';
import { stackAddresses } from '#testing/config.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { TcpProxy } from '#testing/tcp-proxy.js';
import { Shard } from './shard.js';

let tenant: TestDatabase;
let network: TcpProxy;
let shard: Shard;

beforeAll(async () => {
  const url = stackAddresses().postgresUrl;
  tenant = await createTestDatabase('silent_shard');
  network = await TcpProxy.before(url);
  shard = new Shard('silent', network.through(url), `t${randomBytes(3).toString('hex')}`, 300);
});

afterAll(async () => {
  network?.stall(false);
  await shard?.close();
  await network?.close();
  await tenant?.drop();
});

const ask = (session: Pick<Shard, 'query'> | { query(sql: string): Promise<unknown> }) => session.query('SELECT 1');

test.each([
  ['a query', () => ask(shard), () => network.stall(true)],
  ['work under a lock', () => shard.exclusively(tenant.name, silentAfterOne), () => {}],
  ['work in a tenant’s database', () => shard.inside(tenant.name, silentAfterOne), () => {}],
])('%s ends when the shard is not heard of any more, and the next one reaches it again', async (_, work, before) => {
  await ask(shard);
  before();
  const error = await work().then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(Error);
  expect(isUnavailable(error)).toBe(true);
  network.stall(false);
  await ask(shard);
});

async function silentAfterOne(session: { query(sql: string): Promise<unknown> }): Promise<void> {
  await ask(session);
  network.stall(true);
  await ask(session);
}
