import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { programs } from '#local/mesh-install.js';
import { readTrace } from '#local/trace.js';
import { waitFor } from '#testing/wait-for.js';
import { Backups } from './backups.js';
import { stackEnvironment } from './config.js';
import { Lifecycle } from './lifecycle.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;
let backups: Backups;

beforeAll(async () => {
  mesh = await TestMesh.start({ start: programs, traced: true, backup: { MESH_BACKUP_SCHEDULES: 'on' } });
  lifecycle = new Lifecycle(mesh);
  backups = new Backups(mesh);
});
afterAll(async () => {
  backups?.close();
  await mesh?.stop();
});

/** As the clock would, in a minute or in an hour. Resolves when somebody has looked. */
async function look(kind: 'schedule' | 'expiry'): Promise<void> {
  await mesh.sql('UPDATE backup.job SET wanted = wanted + 1, due_at = least(due_at, now()) WHERE kind = $1', [kind]);
  const looked = () =>
    mesh.sql('SELECT 1 FROM backup.job WHERE kind = $1 AND due_at > now() AND lease_until IS NULL', [kind]);
  await mesh.explained(waitFor(`a look at what is to be done (${kind})`, async () => (await looked()).length > 0));
}

async function heardOf(instanceId: string, state: string): Promise<void> {
  const heard = () =>
    mesh.sql('SELECT 1 FROM backup.instance WHERE instance_id = $1 AND state = $2', [instanceId, state]);
  await mesh.explained(waitFor(`backup to hear that it is ${state}`, async () => (await heard()).length > 0));
}

test('what is due is backed up and proved without anybody’s asking, and that is one trace from its beginning on', async () => {
  const { MESH_JAEGER_URL } = stackEnvironment();
  if (!MESH_JAEGER_URL) throw new Error('this test needs Jaeger: run it with npm test -- --lane e2e');
  const { instanceId } = await lifecycle.running('due');
  await heardOf(instanceId, 'running');
  await mesh.sql(`UPDATE backup.instance SET since = now() - interval '2 days' WHERE instance_id = $1`, [instanceId]);
  await mesh.sql('DELETE FROM backup.schedule WHERE instance_id = $1', [instanceId]);
  await look('schedule');
  const { envelope } = await mesh.explained(
    waitFor('its proof', () => mesh.said('backup.verified.v1', instanceId)[0], { timeoutMs: 60_000 }),
  );
  const { backupId } = envelope.data;
  expect(envelope.data).toMatchObject({ why: 'scheduled', depth: 'full' });
  await backups.settled(backupId);
  await look('schedule');

  const traceId = envelope.traceparent!.split('-')[1]!;
  const wanted = ['schedule backup', 'reconcile backup', 'dump: database', 'write: manifest', 'reconcile restore'];
  const faults = async () => {
    const spans = await readTrace(MESH_JAEGER_URL, traceId);
    const ids = new Set(spans.map(({ spanId }) => spanId));
    const roots = spans.filter(({ parentId }) => !parentId).map(({ name }) => name);
    return [
      ...wanted.filter((name) => !spans.some((span) => span.name === name)).map((name) => `there is no ${name}`),
      ...spans.filter(({ parentId }) => parentId && !ids.has(parentId)).map(({ name }) => `${name} hangs of nothing`),
      ...(String(roots) === 'schedule backup' ? [] : [`it begins with ${roots.join(', ')}`]),
      ...spans
        .filter(({ attributes }) => attributes['operation.id'] !== backupId)
        .map(({ name, attributes }) => `${name} is of operation ${attributes['operation.id']}`),
    ];
  };
  await waitFor('its trace to be whole', async () => (await faults()).length === 0, { timeoutMs: 20_000 }).catch(
    async (error) => {
      throw new Error(`${error.message}: ${(await faults()).join('; ')}`);
    },
  );
  const made = await mesh.sql('SELECT 1 FROM backup.backup WHERE instance_id = $1', [instanceId]);
  expect(made).toHaveLength(1);
});

test('when newer ones are kept in its place a backup goes, with all that it alone has, and everybody is told', async () => {
  const ready = await lifecycle.running('old');
  const [oldest, newest] = [await backups.completed(ready.instanceId), await backups.completed(ready.instanceId)];
  // What was asked for by hand has a month of its own.
  await mesh.sql(
    `UPDATE backup.backup SET taken_at = taken_at - interval '3 years', requested_at = requested_at - interval '3 years'
     WHERE backup_id = $1`,
    [oldest],
  );
  // As many days, weeks and months as its plan keeps.
  await mesh.sql(
    `INSERT INTO backup.backup
       SELECT (jsonb_populate_record(b, jsonb_build_object('backup_id', gen_random_uuid(),
         'taken_at', b.taken_at - n * interval '40 days', 'requested_at', b.requested_at - n * interval '40 days'))).*
       FROM backup.backup b, generate_series(1, 13) n WHERE backup_id = $1`,
    [newest],
  );
  await look('expiry');
  const expired = await mesh.explained(
    waitFor('it to go', () => backups.all(oldest, 'backup.expired')[0], { timeoutMs: 60_000 }),
  );
  expect(expired).toMatchObject({ instanceId: ready.instanceId, why: 'manual' });
  expect(await backups.objects(backups.prefixOf(ready, oldest))).toEqual([]);
  expect(await backups.objects(backups.prefixOf(ready, newest))).toHaveLength(3);
  const shown = async (backupId: string) => (await mesh.api(`/v1/backups/${backupId}`)).body;
  await waitFor('the read model', async () => (await shown(oldest)).state === 'expired');
  expect(await shown(newest)).toMatchObject({ state: 'verified' });
});
