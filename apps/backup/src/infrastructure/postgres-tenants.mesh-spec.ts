import { once } from 'node:events';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Log } from '#observability/index.js';
import { backupRole, cloneTemplate, ensureTenantRole } from '#tenant-databases/index.js';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { Hopeless } from '../domain/hopeless.js';
import { LookAtShards } from './look-at-shards.js';
import { PostgresSources, ShardsOfBackup } from './postgres-tenants.js';

let server: TestShard;

beforeAll(async () => {
  server = await createTestShard(
    `CREATE TABLE ir_attachment (id int); CREATE TABLE ir_module_module (name text, state text, latest_version text);
     INSERT INTO ir_module_module VALUES ('base', 'installed', '18.0.1.3')`,
  );
});
afterAll(() => server?.drop());

/** What a service says of these shards when it starts. */
async function saidAtStart(readers: readonly string[], writers: Readonly<Record<string, string>>) {
  const lines: string[] = [];
  const destination = new Writable({
    write(chunk, _, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const { meshName } = server.shard;
  const shards = new ShardsOfBackup({
    ...{ meshName, programs: undefined, longestMs: 5_000 },
    readers: readers.map((name) => ({ name, url: server.readerUrl })),
    writers: Object.entries(writers).map(([name, url]) => ({ name, url })),
  });
  await new LookAtShards(shards, new Log({ service: 'spec', destination })).look();
  await shards.onApplicationShutdown();
  return lines.map((line) => JSON.parse(line));
}

test('a shard that is not prepared for backups is told at the start with what it lacks, and one that is away too', async () => {
  const { url, shard } = server;
  expect(await saidAtStart(['local'], { local: url })).toEqual([]);

  const lacks = 'row policies of tenants would be run by the role that backs them up';
  await server.administrate(`ALTER ROLE ${backupRole(shard.meshName)} NOBYPASSRLS`);
  expect(await saidAtStart(['local'], { local: url })).toMatchObject([
    {
      level: 'error',
      shard: 'local',
      code: 'SHARD_NOT_PREPARED',
      missing: [lacks],
      next: expect.stringMatching(/prepare/),
    },
  ]);
  await server.administrate(`ALTER ROLE ${backupRole(shard.meshName)} BYPASSRLS`);

  const away = new URL(url);
  away.port = '1';
  const said = await saidAtStart(['local', 'away'], { local: url, away: away.toString(), unread: url });
  expect(said.map((line) => [line.shard, line.level]).sort()).toEqual([
    ['away', 'warn'],
    ['unread', 'error'],
  ]);
  expect(JSON.stringify(said)).toContain('MESH_SHARD_READER_URLS');
});

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
