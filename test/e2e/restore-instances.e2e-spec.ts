import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { V1Deployment } from '@kubernetes/client-node';
import { newId } from '#contracts/index.js';
import type { KubernetesObject } from '#kubernetes/index.js';
import { programs } from '#local/mesh-install.js';
import { waitFor } from '#testing/wait-for.js';
import { Backups } from './backups.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
let backups: Backups;

beforeAll(async () => {
  mesh = await TestMesh.start({ start: programs, jobLease: '3s' });
  lifecycle = new Lifecycle(mesh);
  backups = new Backups(mesh);
});
afterAll(async () => {
  backups?.close();
  await mesh?.stop();
});

type Ready = Awaited<ReturnType<Lifecycle['running']>>;

const live = (ready: Ready) => lifecycle.stateOf(ready.instanceId)!;

/** The rows of a table that stands for the customer's work. */
async function workIn(database: string): Promise<string[]> {
  const rows = await mesh.sql<{ said: string }>('SELECT said FROM public.work ORDER BY said', [], database);
  return rows.map(({ said }) => said);
}
const write = (database: string, said: string) => mesh.sql('INSERT INTO public.work VALUES ($1)', [said], database);

/** Running, with work in it, and a backup of that. */
async function backedUp(slug: string): Promise<{ ready: Ready; backupId: string }> {
  const ready = await lifecycle.running(slug);
  await mesh.sql('CREATE TABLE public.work (said text)', [], ready.database);
  await mesh.sql(`ALTER TABLE public.work OWNER TO "${ready.role}"`, [], ready.database);
  await write(ready.database, 'before');
  const backupId = await backups.completed(ready.instanceId);
  return { ready, backupId };
}

const replicasOf = async (namespace: string, footprintId: string) => {
  const found = await mesh.cluster.list<V1Deployment & KubernetesObject>(
    'Deployment',
    namespace,
    `mesh.odoo/footprint=${footprintId}`,
  );
  return found.map(({ spec }) => spec!.replicas);
};

test('in place: it is as the backup has it, what it was is kept with a safety backup, and one request switches back', async () => {
  const { ready, backupId } = await backedUp('in-place');
  await write(ready.database, 'after');
  const restoreId = await backups.restore(ready.instanceId, backupId, 'in-place');
  const restored = await backups.heard(restoreId, 'restore.completed', 'restore.failed', 'restore.refused');
  expect(restored).toMatchObject({ fact: 'restore.completed', mode: 'in-place', backupId });
  await lifecycle.state(ready.instanceId, 'running');
  const now = live(ready);
  expect(now).toMatchObject({ footprintId: restored.footprintId, previousFootprintId: ready.footprintId });
  expect(await workIn(now.database)).toEqual(['before']);
  expect(await replicasOf(ready.namespace, restored.footprintId)).toEqual([1]);
  expect(await replicasOf(ready.namespace, ready.footprintId)).toEqual([0]);
  // Its tenant owns what was restored.
  const [owner] = await mesh.sql<{ owner: string }>(
    `SELECT tableowner AS owner FROM pg_tables WHERE tablename = 'work'`,
    [],
    now.database,
  );
  expect(owner!.owner).toBe(now.database);
  // What it was when it was stopped for that.
  expect(restored.safetyBackupId).toBeDefined();
  expect(await workIn(ready.database)).toEqual(['after', 'before']);
  const steps = backups.all(restoreId, 'restore.progressed').map(({ step }) => step);
  expect(steps).toEqual(['database', 'files', 'load', 'quiesce', 'safety', 'release']);

  await write(now.database, 'in the restored one');
  const back = await lifecycle.do('switch-back', ready.instanceId, { footprintId: ready.footprintId });
  expect(back).toMatchObject({ fact: 'switched-back', footprintId: ready.footprintId });
  await lifecycle.state(ready.instanceId, 'running');
  expect(await workIn(live(ready).database)).toEqual(['after', 'before']);
});

test('the safety backup has what was written until the last moment, and can itself be restored', async () => {
  const { ready, backupId } = await backedUp('regret');
  await write(ready.database, 'after');
  const first = await backups.heard(
    await backups.restore(ready.instanceId, backupId, 'in-place'),
    'restore.completed',
    'restore.failed',
  );
  await lifecycle.state(ready.instanceId, 'running');
  const second = await backups.heard(
    await backups.restore(ready.instanceId, first.safetyBackupId, 'in-place'),
    'restore.completed',
    'restore.failed',
    'restore.refused',
  );
  expect(second).toMatchObject({ fact: 'restore.completed' });
  await lifecycle.state(ready.instanceId, 'running');
  expect(await workIn(live(ready).database)).toEqual(['after', 'before']);
});

test('the database alone: as the backup has it, with the files that it has now', async () => {
  const { ready, backupId } = await backedUp('database-only');
  await write(ready.database, 'after');
  const restoreId = await backups.restore(ready.instanceId, backupId, 'database-only');
  expect(await backups.heard(restoreId, 'restore.completed', 'restore.failed')).toMatchObject({
    fact: 'restore.completed',
  });
  await lifecycle.state(ready.instanceId, 'running');
  expect(await workIn(live(ready).database)).toEqual(['before']);
});

test('a clone is an instance of its own, with another identity, and writes to nobody', async () => {
  const { ready, backupId } = await backedUp('origin');
  await mesh.sql(`UPDATE ir_cron SET active = true`, [], ready.database);
  const to = { instanceId: newId(), slug: 'origin-try', customerId: ready.customerId };
  const restoreId = await backups.restore(ready.instanceId, backupId, 'clone', { to });
  expect(await backups.heard(restoreId, 'restore.completed', 'restore.failed', 'restore.refused')).toMatchObject({
    fact: 'restore.completed',
    to,
  });
  const clone = await mesh.ready(to.instanceId);
  expect(clone).toMatchObject({ claim: 'footprint', customerId: ready.customerId });
  expect(clone.host).toMatch(/^origin-try\./);
  expect(clone.uuid).not.toBe(ready.uuid);
  expect(await workIn(clone.database)).toEqual(['before']);
  const [neutral] = await mesh.sql<{ value: string }>(
    `SELECT value FROM ir_config_parameter WHERE key = 'database.is_neutralized'`,
    [],
    clone.database,
  );
  expect(neutral?.value.toLowerCase()).toBe('true');
  // And the origin is as it was.
  expect(live(ready)).toMatchObject({ state: 'running', footprintId: ready.footprintId });
});

test('one flipped byte is found: nothing is restored of it, and the instance is as it was', async () => {
  const { ready, backupId } = await backedUp('flipped');
  const { database } = await backups.manifest(ready, backupId);
  await backups.flipOneByte(database.key);
  const restoreId = await backups.restore(ready.instanceId, backupId, 'in-place');
  expect(await backups.heard(restoreId, 'restore.completed', 'restore.failed')).toMatchObject({
    fact: 'restore.failed',
    code: 'CORRUPTED',
  });
  expect(live(ready)).toMatchObject({ state: 'running', footprintId: ready.footprintId });
  expect(mesh.said('instance.quiesced.v1', ready.instanceId)).toEqual([]);
  await mesh.explained(
    waitFor('what was made for it to be removed', async () => {
      const rows = await mesh.sql(
        `SELECT 1 FROM backup.restore r JOIN pg_database d ON d.datname LIKE '%' || replace(substr(r.footprint_id::text, 2), '-', '')
         WHERE restore_id = $1`,
        [restoreId],
      );
      return rows.length === 0;
    }),
  );
});

// At random moments, and with two replicas: test/reliability/kill-backup.
test.each(['database', 'release'])(
  'killed in the step %s of a restore, the instance lives in what was restored: once, and nowhere else',
  async (step) => {
    const { ready, backupId } = await backedUp(`dies-in-${step}`);
    await write(ready.database, 'after');
    const restoreId = await backups.restore(ready.instanceId, backupId, 'in-place');
    const at = ['footprint', 'database', 'files', 'load', 'quiesce', 'safety', 'release'].indexOf(step);
    await mesh.explained(
      waitFor(
        `step ${step}`,
        async () => {
          const [row] = await mesh.sql<{ stage: number }>('SELECT stage FROM backup.restore WHERE restore_id = $1', [
            restoreId,
          ]);
          return row && row.stage >= at;
        },
        { intervalMs: 5 },
      ),
    );
    await mesh.services.kill('backup');
    await mesh.services.start('backup');
    const restored = await backups.heard(restoreId, 'restore.completed', 'restore.failed');
    expect(restored).toMatchObject({ fact: 'restore.completed' });
    await lifecycle.state(ready.instanceId, 'running');
    expect(await workIn(live(ready).database)).toEqual(['before']);
    expect(backups.all(restoreId, 'restore.completed')).toHaveLength(1);
    expect(await replicasOf(ready.namespace, restored.footprintId)).toEqual([1]);
  },
);

test('what cannot be restored is refused with a reason, and nothing is touched', async () => {
  const { ready, backupId } = await backedUp('refused');
  const stranger = await lifecycle.running('stranger', { customerId: 'c-2' });
  const refused = async (instanceId: string, of: string, mode: string, more = {}) =>
    (await backups.heard(await backups.restore(instanceId, of, mode, more), 'restore.refused')).code;
  expect(await refused(stranger.instanceId, backupId, 'in-place')).toBe('NOT_ITS_BACKUP');
  expect(await refused(ready.instanceId, newId(), 'in-place')).toBe('UNKNOWN_BACKUP');
  const to = { instanceId: newId(), slug: 'theirs', customerId: 'c-2' };
  expect(await refused(ready.instanceId, backupId, 'clone', { to })).toBe('ANOTHER_CUSTOMER');
  expect(
    await mesh.sql('SELECT 1 FROM backup.restore WHERE instance_id = ANY($1)', [
      [ready.instanceId, stranger.instanceId],
    ]),
  ).toEqual([]);
});
