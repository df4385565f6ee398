import { once } from 'node:events';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { cloneTemplate, ensureTenantRole } from '#tenant-databases/index.js';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { Hopeless } from '../domain/hopeless.js';
import { PostgresSources, ShardsOfBackup } from './postgres-tenants.js';

let server: TestShard;

beforeAll(async () => {
  server = await createTestShard(
    `CREATE TABLE ir_attachment (id int); CREATE TABLE ir_module_module (name text, state text, latest_version text);
     INSERT INTO ir_module_module VALUES ('base', 'installed', '18.0.1.3')`,
  );
});
afterAll(() => server?.drop());

test('a dump that hangs for as long as a backup may take is not begun again', async () => {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password: 'a-password', connectionLimit: 5 });
  await cloneTemplate(server.shard, tenant, server.template);
  const readers = [{ name: 'local', url: server.readerUrl }];
  const shards = new ShardsOfBackup({ meshName: 'hangs', readers, writers: [], programs: undefined, longestMs: 500 });
  const source = { databaseShard: 'local', database: tenant.name };
  const held = new PostgresSources(shards).hold(
    source,
    async (_, signal) => {
      if (!signal.aborted) await once(signal, 'abort');
      signal.throwIfAborted();
    },
    new AbortController().signal,
  );
  const error = await held.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(Hopeless);
  expect(error).toMatchObject({ code: 'TOOK_TOO_LONG' });
  await shards.onApplicationShutdown();
});
