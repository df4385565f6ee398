import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { programs } from '#local/mesh-install.js';
import type { MeshServices } from '#local/mesh-services.js';
import { at, completed as done } from '#testing/process-kit.js';
import { TcpProxy } from '#testing/tcp-proxy.js';
import { waitFor } from '#testing/wait-for.js';
import { Backups } from '../e2e/backups.js';
import { longForm, seedOfThisRun, stackEnvironment } from '../e2e/config.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { BackupLedger } from './fixtures/backup-ledger.js';
import { BackupTrouble } from './fixtures/backup-trouble.js';
import { Dice } from './fixtures/dice.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

const rounds = longForm() ? 6 : 1;
/** So often something befalls the service in a round. */
const most = longForm() ? 40 : 10;
/** Whoever dies or is frozen is waited for, again and again. */
const patienceMs = 240_000;
jest.setTimeout(longForm() ? 1_800_000 : 400_000);

let mesh: TestMesh;
let lifecycle: Lifecycle;
let backups: Backups;
let ledger: BackupLedger;
let store: TcpProxy;
let replicas: readonly MeshServices[];

beforeAll(async () => {
  store = await TcpProxy.before(stackEnvironment().MESH_S3_ENDPOINT!);
  mesh = await TestMesh.start({
    ...{ start: programs, jobLease: '2s' },
    backup: {
      MESH_S3_ENDPOINT: store.through(stackEnvironment().MESH_S3_ENDPOINT!),
      MESH_BACKUP_SCHEDULES: 'on',
    },
  });
  replicas = [mesh.services, await mesh.startReplica(['backup'])];
  lifecycle = new Lifecycle(mesh);
  backups = new Backups(mesh, patienceMs);
  ledger = new BackupLedger(mesh, backups);
});
afterAll(async () => {
  backups?.close();
  await mesh?.stop();
  await store?.close();
});

type Ready = Awaited<ReturnType<Lifecycle['running']>>;

/** The rows of a table that stands for the customer's work. */
async function workIn(database: string): Promise<string[]> {
  const rows = await mesh.sql<{ said: string }>('SELECT said FROM public.work ORDER BY said', [], database);
  return rows.map(({ said }) => said);
}
const write = (database: string, said: string) => mesh.sql('INSERT INTO public.work VALUES ($1)', [said], database);

/** Running, with work in it. */
async function working(slug: string): Promise<Ready> {
  const ready = await lifecycle.running(slug);
  // Facts come by another queue than requests, and who is frozen has some of them.
  const heard = () =>
    mesh.sql(`SELECT 1 FROM backup.instance WHERE instance_id = $1 AND state = 'running'`, [ready.instanceId]);
  await mesh.explained(
    waitFor('backup to hear of it', async () => (await heard()).length > 0, { timeoutMs: patienceMs }),
  );
  await mesh.sql('CREATE TABLE public.work (said text)', [], ready.database);
  await mesh.sql(`ALTER TABLE public.work OWNER TO "${ready.role}"`, [], ready.database);
  await write(ready.database, 'before');
  return ready;
}

async function completed({ instanceId }: Ready): Promise<string> {
  const backupId = await ledger.ask(instanceId);
  expect(await backups.heard(backupId, 'backup.completed', 'backup.failed')).toMatchObject({
    fact: 'backup.completed',
  });
  return backupId;
}

const ended = async (restoreId: string) =>
  await backups.heard(restoreId, 'restore.completed', 'restore.failed', 'restore.refused');

async function lives({ instanceId }: Ready, footprintId: string, rows: readonly string[]): Promise<void> {
  const state = await lifecycle.state(instanceId, 'running', patienceMs);
  expect(state.footprintId).toBe(footprintId);
  expect(await workIn(state.database)).toEqual(rows);
}

/** One that is asked for as soon as somebody looks at the clock. */
async function isLongDue({ instanceId }: Ready): Promise<void> {
  await mesh.sql(`UPDATE backup.instance SET since = now() - interval '2 days' WHERE instance_id = $1`, [instanceId]);
  await mesh.sql('DELETE FROM backup.schedule WHERE instance_id = $1', [instanceId]);
}
const look = (kind: 'schedule' | 'expiry') =>
  mesh.sql('UPDATE backup.job SET wanted = wanted + 1, due_at = least(due_at, now()) WHERE kind = $1', [kind]);

/** What is asked of one instance each, and has to be so afterwards, whatever befalls the service meanwhile. */
const stories: Readonly<Record<string, (slug: string) => Promise<void>>> = {
  async 'restored, and restored to what it was before that'(slug) {
    const ready = await working(slug);
    const backupId = await completed(ready);
    await write(ready.database, 'later');
    const first = await ended(await ledger.restore(ready.instanceId, backupId, 'in-place'));
    expect(first).toMatchObject({ fact: 'restore.completed' });
    await lives(ready, first.footprintId, ['before']);
    expect(await workIn(ready.database)).toEqual(['before', 'later']);
    const second = await ended(await ledger.restore(ready.instanceId, first.safetyBackupId, 'in-place'));
    expect(second).toMatchObject({ fact: 'restore.completed' });
    await lives(ready, second.footprintId, ['before', 'later']);
  },
  async 'its database alone'(slug) {
    const ready = await working(slug);
    const backupId = await completed(ready);
    await write(ready.database, 'later');
    const restored = await ended(await ledger.restore(ready.instanceId, backupId, 'database-only'));
    expect(restored).toMatchObject({ fact: 'restore.completed' });
    await lives(ready, restored.footprintId, ['before']);
  },
  async cloned(slug) {
    const ready = await working(slug);
    const backupId = await completed(ready);
    await write(ready.database, 'later');
    const to = { instanceId: newId(), slug: `${slug}-clone`, customerId: ready.customerId };
    const restored = await ended(await ledger.restore(ready.instanceId, backupId, 'clone', { to }));
    expect(restored).toMatchObject({ fact: 'restore.completed' });
    const clone = await mesh.ready(to.instanceId);
    await lives(clone, restored.footprintId, ['before']);
    await lives(ready, ready.footprintId, ['before', 'later']);
  },
  async 'not restored from what was spoilt'(slug) {
    const ready = await working(slug);
    const backupId = await completed(ready);
    await write(ready.database, 'later');
    const { database } = await backups.manifest(ready, backupId);
    await ledger.spoil(backupId, database.key);
    const restoreId = await ledger.restore(ready.instanceId, backupId, 'in-place');
    // Its proof may be quicker, and may have seen it when it was whole.
    const end = await ended(restoreId);
    expect(['CORRUPTED', 'BACKUP_NOT_GOOD']).toContain(end.code);
    await lives(ready, ready.footprintId, ['before', 'later']);
    expect(mesh.said('instance.quiesced.v1', ready.instanceId)).toEqual([]);
  },
  async 'proved whole'(slug) {
    const { instanceId } = await working(slug);
    const backupId = await ledger.ask(instanceId, 'pre-upgrade');
    const verified = await backups.heard(backupId, 'backup.verified', 'backup.failed');
    expect(verified).toMatchObject({ fact: 'backup.verified', depth: 'full' });
  },
  async 'long due'(slug) {
    const ready = await working(slug);
    await isLongDue(ready);
    const scheduled = () =>
      mesh.sql(`SELECT 1 FROM backup.backup WHERE instance_id = $1 AND why = 'scheduled'`, [ready.instanceId]);
    for (let looks = 0; looks < 3; looks += 1) await look('schedule');
    const verified = () => mesh.said('backup.verified.v1', ready.instanceId)[0];
    await mesh.explained(waitFor('its proof', verified, { timeoutMs: patienceMs }));
    await look('schedule');
    expect(await scheduled()).toHaveLength(1);
  },
  async 'asked for again and again'(slug) {
    const { instanceId } = await working(slug);
    const backupId = await ledger.ask(instanceId);
    const id = newId();
    const again = { instanceId, backupId, why: 'manual' };
    for (let times = 0; times < 2; times += 1) await backups.say('backup.requested.v1', again, id);
    const others = await Promise.all([ledger.ask(instanceId), ledger.ask(instanceId), ledger.ask(newId())]);
    await Promise.all(
      [backupId, ...others].map((one) => backups.heard(one, 'backup.completed', 'backup.failed', 'backup.refused')),
    );
  },
  async 'brought to its end'(slug) {
    const ready = await working(slug);
    await completed(ready);
    expect(await lifecycle.do('termination', ready.instanceId, { at: new Date().toISOString() })).toMatchObject({
      fact: 'termination-scheduled',
    });
    const gone = () => mesh.said('instance.terminated.v1', ready.instanceId)[0];
    await mesh.explained(waitFor('the end', gone, { timeoutMs: patienceMs }));
  },
};

test('whatever befalls it, each backup and restore ends once, what is listed is whole, and nothing lies about', async () => {
  const { seed, chosen } = seedOfThisRun();
  console.log(`seed ${seed}${chosen ? '' : ' (the same again: MESH_SEED)'}`);
  for (let round = 0; round < rounds; round += 1) {
    const trouble = new BackupTrouble(mesh, replicas, store, new Dice(seed + round), most);
    const told = Object.values(stories).map((story, at) => story(`story-${round}-${at}`));
    try {
      await trouble.during(Promise.all(told));
      await ledger.settled();
    } catch (error) {
      throw new Error(`${(error as Error).message}\nopen: ${JSON.stringify(await ledger.open())}`, { cause: error });
    } finally {
      console.log(`befallen: ${trouble.done.join(', ')}`);
    }
    expect(await ledger.faults()).toEqual([]);
    expect(await mesh.sql('SELECT type, reason, error FROM api_gateway.parked_message')).toEqual([]);
  }
});

/** What an attempt has on its way to the store, or wants of it, when its worker is frozen. */
const moments = [
  ['sends the dump', 'short', 'PUT', 'database-'],
  ['has sent the dump', 'long', 'PUT', 'fingerprint-'],
  ['writes the manifest', 'long', 'PUT', 'manifest.json'],
] as const;

const versions = async (ready: Ready, backupId: string) => await backups.versions(backups.prefixOf(ready, backupId));

async function runs(replica: MeshServices): Promise<number> {
  const response = await fetch(`${replica.url('backup')}/metrics`, { signal: AbortSignal.timeout(5_000) });
  const counts = [...(await response.text()).matchAll(/^mesh_job_running\{[^}]*\} (\d+)$/gm)];
  return counts.reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Calls `then` when a request of that kind is on its way to the store. */
function whenOnItsWay(method: string, name: string, then: () => void): void {
  store.faults.watch = (chunk, direction) => {
    if (direction === 'down' || !chunk.toString('latin1').startsWith(`${method} /`)) return undefined;
    if (!chunk.subarray(0, chunk.indexOf('\r\n')).includes(name)) return undefined;
    store.faults.watch = undefined;
    then();
    return undefined;
  };
}

/** The first replica alone, until it does that; then it is frozen, and the second one goes on. */
async function frozenWhen(method: string, name: string, ask: () => Promise<unknown>, end: () => Promise<unknown>) {
  const [first, second] = replicas as [MeshServices, MeshServices];
  await second.stop('backup');
  const pid = first.pid('backup')!;
  let frozen = false;
  try {
    whenOnItsWay(method, name, () => {
      process.kill(pid, 'SIGSTOP');
      frozen = true;
    });
    await ask();
    await waitFor('it to be frozen', () => frozen, { timeoutMs: patienceMs, intervalMs: 5 });
    await second.start('backup');
    await end();
  } finally {
    store.faults.watch = undefined;
    process.kill(pid, 'SIGCONT');
  }
  await waitFor('its runs to end', async () => (await runs(first)) === 0, { timeoutMs: 60_000 });
}

test.each(moments.filter(([, form]) => longForm() || form === 'short'))(
  'a worker that is frozen when it %s wakes up when all is done, and changes nothing that is listed',
  async (moment, _form, method, name) => {
    const ready = await working(`frozen-${moment.replaceAll(' ', '-')}`);
    // Too much for what the network holds meanwhile: the rest is sent by whoever wakes up.
    await mesh.sql(
      'CREATE TABLE public.large AS SELECT gen_random_uuid() AS a, gen_random_uuid() AS b FROM generate_series(1, 150000)',
      [],
      ready.database,
    );
    let backupId = '';
    let before: unknown;
    await frozenWhen(
      method,
      name,
      async () => {
        backupId = await ledger.ask(ready.instanceId);
      },
      async () => {
        await backups.proved(backupId);
        before = await versions(ready, backupId);
      },
    );
    await ledger.settled();
    expect(await versions(ready, backupId)).toEqual(before);
    expect(await ledger.faults()).toEqual([]);
  },
);

/** What the shard has noted of the database when the worker dies, and nobody else has heard of yet. */
test.each(
  [
    ['filled', 'long'],
    ['owned', 'short'],
  ].filter(([, form]) => longForm() || form === 'short'),
)('killed when the restored database is %s, the restore comes to its end all the same', async (mark) => {
  const ready = await working(`killed-when-${mark}`);
  const backupId = await backups.completed(ready.instanceId);
  await write(ready.database, 'later');
  const [first] = replicas as [MeshServices, MeshServices];
  await Promise.all(replicas.map((replica) => replica.stop('backup')));
  const proxies = await ServiceProxies.before(mesh, 'backup');
  await first.start('backup');
  proxies.leaveOut();
  const through = proxies.shard!;
  const marks = (chunk: Buffer) => chunk.includes('COMMENT ON DATABASE') && chunk.includes(mark);
  let killed: Promise<void> | undefined;
  void at([{ through, direction: 'up', seen: marks }, done(through, 'COMMENT')], () => {
    killed = first.kill('backup');
    return undefined;
  });
  const restoreId = await ledger.restore(ready.instanceId, backupId, 'in-place');
  await waitFor('its death', () => killed !== undefined, { timeoutMs: patienceMs, intervalMs: 5 });
  await killed;
  await proxies.close();
  await Promise.all(replicas.map((replica) => replica.start('backup')));
  const end = await ended(restoreId);
  expect(end).toMatchObject({ fact: 'restore.completed' });
  await lives(ready, end.footprintId, ['before']);
  await ledger.settled();
  expect(await ledger.faults()).toEqual([]);
});

test('who is frozen when he restores wakes up when it is done, and the instance lives where others have brought it', async () => {
  const ready = await working('frozen-restorer');
  const backupId = await backups.completed(ready.instanceId);
  await write(ready.database, 'later');
  let restoreId = '';
  let footprintId = '';
  await frozenWhen(
    'GET',
    'database-',
    async () => {
      restoreId = await ledger.restore(ready.instanceId, backupId, 'in-place');
    },
    async () => {
      const end = await ended(restoreId);
      expect(end).toMatchObject({ fact: 'restore.completed' });
      footprintId = end.footprintId;
      await lives(ready, footprintId, ['before']);
    },
  );
  await ledger.settled();
  await lives(ready, footprintId, ['before']);
  expect(await ledger.faults()).toEqual([]);
});

test('of an instance that is gone a backup can be read until its date has come, and one that is held after it', async () => {
  const ready = await working('remembered');
  const held = await backups.completed(ready.instanceId);
  await backups.say('backup.hold-requested.v1', { backupId: held, reason: 'a court wants it' });
  await backups.heard(held, 'backup.hold-changed');
  const { finalBackupId } = await lifecycle.do('termination', ready.instanceId, { at: new Date().toISOString() });
  const gone = () => mesh.said('instance.terminated.v1', ready.instanceId)[0];
  await mesh.explained(waitFor('the end', gone, { timeoutMs: 60_000 }));
  await lifecycle.state(ready.instanceId, 'terminated');
  await ledger.settled();
  expect(await ledger.faults()).toEqual([]);
  const objects = (backupId: string) => backups.objects(backups.prefixOf(ready, backupId));
  expect(await objects(finalBackupId)).toHaveLength(3);

  const aYearAgo = `now() - interval '1 year'`;
  await mesh.sql(`UPDATE backup.instance SET since = ${aYearAgo} WHERE instance_id = $1`, [ready.instanceId]);
  await mesh.sql(`UPDATE backup.backup SET taken_at = ${aYearAgo} WHERE instance_id = $1`, [ready.instanceId]);
  await look('expiry');
  await backups.inState(finalBackupId, 'expiring', 'expired');
  for (const replica of replicas) {
    await replica.kill('backup');
    await replica.start('backup');
  }
  await backups.heard(finalBackupId, 'backup.expired');
  await ledger.settled();
  expect(backups.all(finalBackupId, 'backup.expired')).toHaveLength(1);
  expect([await objects(finalBackupId), (await objects(held)).length]).toEqual([[], 3]);
  expect(await ledger.faults()).toEqual([]);
});
