import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { programs } from '#local/mesh-install.js';
import { waitFor } from '#testing/wait-for.js';
import { Backups } from './backups.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
let backups: Backups;

beforeAll(async () => {
  mesh = await TestMesh.start({
    start: programs,
    jobLease: '3s',
    backup: { MESH_BACKUPS_PER_SHARD: '2', MESH_S3_OBJECT_LOCK: 'governance' },
  });
  lifecycle = new Lifecycle(mesh);
  backups = new Backups(mesh);
});
afterAll(async () => {
  backups?.close();
  await mesh?.stop();
});

const inAMinute = () => new Date(Date.now() + 60_000).toISOString();

test('a backup is a dump, what stood in it, and last of all the manifest that ties them together', async () => {
  const ready = await lifecycle.running('once');
  await mesh.sql(`CREATE TABLE public.extra AS SELECT generate_series(1, 1000) AS n`, [], ready.database);
  const backupId = await backups.ask(ready.instanceId);
  const completed = await backups.heard(backupId, 'backup.completed');
  expect(await backups.proved(backupId)).toMatchObject({
    ...{ fact: 'backup.verified', depth: 'light', offSite: true, filesSeen: 'simulated', why: 'manual' },
  });

  const manifest = await backups.manifest(ready, backupId);
  const { database, files } = manifest;
  expect(manifest).toMatchObject({ version: 1, backupId, instanceId: ready.instanceId, template: ready.template });
  expect(files).toBeNull();
  expect(completed).toMatchObject({
    databaseBytes: database.bytes,
    checksum: database.sha256,
    takenAt: manifest.takenAt,
  });
  expect(await backups.sha256(database.key)).toBe(database.sha256);
  const tables = JSON.parse((await backups.read(database.fingerprint.key)).toString()).tables;
  expect(tables.extra).toEqual([1000, expect.any(String)]);
  const prefix = backups.prefixOf(ready, backupId);
  expect(await backups.objects(prefix)).toEqual(
    [database.key, database.fingerprint.key, `${prefix}manifest.json`].map((key) => key.slice(prefix.length)).sort(),
  );
  expect(await backups.unfinished()).toBe(0);
  // Not even with the mesh's own key.
  for (const key of [manifest.database.key, `${prefix}manifest.json`])
    await expect(backups.destroy(key)).rejects.toThrow(/denied|lock/i);
});

test('told twice it is made once; another one of that id is refused', async () => {
  const ready = await lifecycle.running('twice');
  const [backupId, id] = [newId(), newId()];
  const asked = { instanceId: ready.instanceId, backupId, why: 'manual' };
  await backups.say('backup.requested.v1', asked, id);
  await backups.say('backup.requested.v1', asked, id);
  await backups.say('backup.requested.v1', asked);
  expect(await backups.heard(backupId, 'backup.refused')).toMatchObject({ code: 'ALREADY_ASKED', fault: 'user' });
  await backups.proved(backupId);
  expect(backups.all(backupId, 'backup.completed')).toHaveLength(1);
  expect(backups.all(backupId, 'backup.verified')).toHaveLength(1);
});

test('nobody backs up what nobody has heard of', async () => {
  const backupId = await backups.ask(newId());
  expect(await backups.heard(backupId, 'backup.refused')).toMatchObject({ code: 'UNKNOWN_INSTANCE', fault: 'user' });
});

test('a final backup is restored, compared, and nothing is left of where that was done', async () => {
  const ready = await lifecycle.running('proved');
  const backupId = await backups.ask(ready.instanceId, 'final');
  const verified = await backups.heard(backupId, 'backup.verified', 'backup.failed');
  expect(verified).toMatchObject({ fact: 'backup.verified', depth: 'full', offSite: true, why: 'final' });
  expect(verified.rows).toBeGreaterThan(20);
  expect(verified.rtoMs).toBeGreaterThan(0);
  const [proof] = await mesh.sql<{ footprintId: string }>(
    `SELECT footprint_id AS "footprintId" FROM backup.restore WHERE backup_id = $1`,
    [backupId],
  );
  await mesh.explained(
    waitFor('the footprint of the proof to be removed', () =>
      mesh.heard.some(
        ({ key, envelope }) => key === 'footprint.removed.v1' && envelope.data.footprintId === proof!.footprintId,
      ),
    ),
  );
  const named = `%${proof!.footprintId.replaceAll('-', '').slice(1)}%`;
  expect(await mesh.sql('SELECT 1 FROM pg_database WHERE datname LIKE $1', [named])).toEqual([]);
  expect(await mesh.sql('SELECT 1 FROM pg_roles WHERE rolname LIKE $1', [named])).toEqual([]);
  for (const kind of ['Secret', 'PersistentVolumeClaim', 'Deployment', 'Job'])
    expect(await mesh.cluster.list(kind, ready.namespace, `mesh.odoo/footprint=${proof!.footprintId}`)).toEqual([]);
});

// At random moments, and with two replicas: test/reliability/kill-backup.
test.each(['dumping', 'saving'])(
  'killed while a backup is %s, it is made all the same: once, whole, and with nothing beside it',
  async (state) => {
    const ready = await lifecycle.running(`killed-${state}`);
    const backupId = await backups.ask(ready.instanceId);
    await backups.inState(backupId, state, 'completed');
    await mesh.services.kill('backup');
    await mesh.services.start('backup');
    expect(await backups.proved(backupId)).toMatchObject({ fact: 'backup.verified' });
    expect(backups.all(backupId, 'backup.completed')).toHaveLength(1);
    const { database } = await backups.manifest(ready, backupId);
    expect(await backups.sha256(database.key)).toBe(database.sha256);
    expect(await backups.objects(backups.prefixOf(ready, backupId))).toHaveLength(3);
    expect(await backups.unfinished()).toBe(0);
  },
);

test('as long as somebody holds an instance nobody else’s backup begins, and his does', async () => {
  const ready = await lifecycle.running('held');
  const { token } = await lifecycle.do('quiesce', ready.instanceId, { purpose: 'move', deadline: inAMinute() });
  const other = await backups.ask(ready.instanceId);
  await mesh.explained(
    waitFor('the backup to wait', async () => (await backups.row(other))?.condition?.reason === 'Quiesced'),
  );
  const his = await backups.completed(ready.instanceId, 'safety', { token });
  expect((await backups.row(other))?.state).toBe('waiting');
  await lifecycle.do('release', ready.instanceId, { token });
  await backups.heard(other, 'backup.completed');
  expect(backups.all(his, 'backup.completed')).toHaveLength(1);
});

test('as many databases as may be are dumped at once, and the others come after them', async () => {
  const instances = await Promise.all(
    ['many-1', 'many-2', 'many-3', 'many-4', 'many-5'].map((slug) => lifecycle.running(slug)),
  );
  const ids = await Promise.all(instances.map(({ instanceId }) => backups.ask(instanceId)));
  let most = 0;
  await mesh.explained(
    waitFor(
      'all of them to be made',
      async () => {
        const [row] = await mesh.sql<{ n: number }>(
          `SELECT count(*)::int AS n FROM backup.backup WHERE state = 'dumping'`,
        );
        most = Math.max(most, row!.n);
        return ids.every((id) => backups.all(id, 'backup.completed').length === 1);
      },
      { timeoutMs: 60_000, intervalMs: 10 },
    ),
  );
  expect(most).toBeLessThanOrEqual(2);
});

test('a dump that loses its connection is made again, and nobody is told that it failed', async () => {
  const ready = await lifecycle.running('cut');
  await mesh.sql(
    `CREATE TABLE public.large AS SELECT n, md5(n::text) AS text FROM generate_series(1, 300000) n`,
    [],
    ready.database,
  );
  const backupId = await backups.ask(ready.instanceId);
  await mesh.explained(
    waitFor(
      'its session',
      async () =>
        (
          await mesh.sql(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename LIKE '%backup'`,
            [ready.database],
          )
        ).length > 0,
      { timeoutMs: 60_000, intervalMs: 5 },
    ),
  );
  expect(await backups.proved(backupId)).toMatchObject({ fact: 'backup.verified' });
  expect(backups.all(backupId, 'backup.failed')).toEqual([]);
  expect(await backups.objects(backups.prefixOf(ready, backupId))).toHaveLength(3);
});
