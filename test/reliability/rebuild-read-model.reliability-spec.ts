import { afterAll, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { completed, type Sign, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { seen } from './fixtures/points.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

let mesh: TestMesh;
let proxies: ServiceProxies;
const ids: string[] = [];

beforeAll(async () => {
  mesh = await TestMesh.start({ askAgain: '1s', start: ['capacity-planner', 'provisioner', 'lifecycle', 'backup'] });
  proxies = await ServiceProxies.before(mesh, 'api-gateway');
  await mesh.services.start('api-gateway');
  await Promise.all(Array.from({ length: 6 }, () => request()));
  await Promise.all(ids.map((id) => mesh.ready(id)));
  await Promise.all(ids.map((id) => shown(id)));
});
afterAll(async () => {
  await mesh?.stop();
  await proxies?.close();
});

async function request(): Promise<string> {
  const one = mesh.request(`rebuilt-${ids.length}`);
  ids.push(one.data.instanceId);
  await mesh.publish(one);
  return one.data.instanceId;
}

const shown = (instanceId: string) =>
  waitFor(`${instanceId} to be shown as running`, async () => {
    const { body } = await mesh.api(`/v1/instances/${instanceId}`);
    return body.state === 'running' && body.slug === `rebuilt-${ids.indexOf(instanceId)}`;
  });

const status = async () => (await mesh.api('/v1/read-model')).body;
const rebuild = () => mesh.api('/v1/read-model/rebuild', { method: 'POST' });
const whole = async (generation: number) =>
  await waitFor(`generation ${generation} to be complete`, async () => {
    const body = await status();
    return body.state === 'complete' && body.generation === generation ? body : undefined;
  });

/** What the read model says of instances and cells, but for when it was written. */
const readModel = async () => ({
  instances: await mesh.sql(
    `SELECT to_jsonb(v) - '{created_at,updated_at,state_since,generation}'::text[] AS row
     FROM api_gateway.instance_view v ORDER BY instance_id`,
  ),
  cells: await mesh.sql(`SELECT to_jsonb(c) - 'updated_at' AS row FROM api_gateway.cell c ORDER BY cell`),
});
/** But for its place among the events, which it gets a little later. */
const timeline = (upTo: string | null = null) =>
  mesh.sql<{ id: string }>(
    `SELECT id::text, to_jsonb(t) - 'position' AS row FROM api_gateway.timeline t
     WHERE $1::bigint IS NULL OR id <= $1 ORDER BY t.id`,
    [upTo],
  );

type Books = Awaited<ReturnType<typeof readModel>> & { readonly told: Awaited<ReturnType<typeof timeline>> };
let books: Books;

/** What is to be mended, so that a rebuild that did nothing does not go unnoticed. */
async function damage(): Promise<void> {
  await mesh.sql('DELETE FROM api_gateway.instance_view WHERE instance_id = $1', [ids[0]]);
  await mesh.sql(`UPDATE api_gateway.instance_view SET slug = 'wrong', url = NULL WHERE instance_id = $1`, [ids[1]]);
  await mesh.sql('DELETE FROM api_gateway.cell');
}

beforeEach(async () => {
  books = { ...(await readModel()), told: await timeline() };
  await damage();
});

async function expectBooksAsBefore(): Promise<void> {
  const { instances, cells } = await readModel();
  expect(instances).toEqual(expect.arrayContaining(books.instances));
  // How many places are reserved may have changed; that they are told is what counts.
  expect(cells).toHaveLength(books.cells.length);
  expect(await timeline(books.told.at(-1)!.id)).toEqual(books.told);
}

const inDatabase = (text: string, more = ''): Sign => {
  const through = proxies.database;
  return { through, direction: 'up', seen: (chunk) => chunk.includes(text) && chunk.includes(more) };
};
const committed = () => completed(proxies.database, 'COMMIT');

/** A rebuild begins, and the gateway dies at that point of it; an instance is made while it is away. */
async function dieInRebuild(signs: () => readonly Sign[], begin: () => Promise<unknown> = rebuild): Promise<string> {
  let killed: Promise<void> | undefined;
  void seen(signs)(() => {
    killed = mesh.services.kill('api-gateway');
  });
  await begin().catch(() => {});
  await waitFor('the gateway to come to that point', () => killed !== undefined);
  await killed;
  const meanwhile = await request();
  await mesh.ready(meanwhile);
  return meanwhile;
}

test.each([
  ['has forgotten what it heard', () => [statement(proxies.database, 'DELETE FROM inbox')]],
  [
    'has forgotten the order of facts too',
    () => ['DELETE FROM inbox', 'DELETE FROM heard'].map((text) => statement(proxies.database, text)),
  ],
])('the gateway is killed when it %s: nothing has begun, and the next rebuild is whole', async (_, signs) => {
  const { generation } = await status();
  const damaged = await readModel();
  const meanwhile = await dieInRebuild(signs);
  await mesh.services.start('api-gateway');
  await shown(meanwhile);
  await whole(generation);
  const { instances } = await readModel();
  expect(instances).toEqual(expect.arrayContaining(damaged.instances));
  expect(instances).toHaveLength(damaged.instances.length + 1);

  await rebuild();
  expect(await whole(generation + 1)).toMatchObject({ instances: ids.length, notToldAgain: 0 });
  await expectBooksAsBefore();
  await shown(meanwhile);
});

test.each([
  ['has begun and not answered yet', () => [statement(proxies.database, 'DELETE FROM heard'), committed()]],
  [
    'handles the first facts that are said again',
    () => [statement(proxies.database, 'DELETE FROM heard'), committed(), inDatabase(ids[3]!)],
  ],
])('the gateway is killed when it %s: the rebuild goes on by itself and ends whole', async (_, signs) => {
  const { generation } = await status();
  const meanwhile = await dieInRebuild(signs);
  await mesh.services.start('api-gateway');
  expect(await whole(generation + 1)).toMatchObject({ notToldAgain: 0 });
  await expectBooksAsBefore();
  await shown(meanwhile);
});

test('the gateway is killed when one of two owners has told everything, and again before the last word: it is not complete before', async () => {
  const { generation } = await status();
  await mesh.services.stop('provisioner');
  await rebuild();
  const plannerHasTold = () =>
    waitFor('the planner to have told', async () => (await status()).waitsFor.join() === 'provisioner');
  await plannerHasTold();
  await mesh.services.kill('api-gateway');
  await mesh.services.start('api-gateway');
  // At each start it asks for the kinds of which it never heard any, and so the planner is asked once more.
  await plannerHasTold();
  expect(await status()).toMatchObject({ state: 'rebuilding', generation: generation + 1 });

  const lastWord = () => [inDatabase('DELETE FROM asked', 'provisioner')];
  const meanwhile = await dieInRebuild(lastWord, () => mesh.services.start('provisioner'));
  await mesh.services.start('api-gateway');
  expect(await whole(generation + 1)).toMatchObject({ notToldAgain: 0 });
  await expectBooksAsBefore();
  await shown(meanwhile);
});

/** Somebody else has a lock, until the work is done. */
async function whileLocked<T>(lock: string, work: () => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: mesh.installed.meshDatabaseUrl });
  await client.connect();
  try {
    await client.query('BEGIN');
    await client.query(lock);
    return await work();
  } finally {
    await client.end();
  }
}
const waiting = async () =>
  (
    await mesh.sql(
      `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
         AND usename LIKE '%api_gateway'`,
    )
  ).length;

/** From now on each COMMIT of a change of the read model waits for whoever holds the advisory lock 1. */
async function holdCommits(): Promise<() => Promise<unknown>> {
  await mesh.sql(`
    CREATE FUNCTION public.hold_commit() RETURNS trigger LANGUAGE plpgsql
      AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER hold_commit AFTER INSERT OR UPDATE ON api_gateway.instance_view
      DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.hold_commit()`);
  return () => mesh.sql('DROP FUNCTION public.hold_commit CASCADE');
}

test('a fact that is being handled when a rebuild begins is told again', async () => {
  const { generation } = await status();
  const letGo = await holdCommits();
  let begun: Promise<unknown> = Promise.resolve();
  const during = await whileLocked('SELECT pg_advisory_xact_lock(1)', async () => {
    const id = await request();
    await waitFor('its first two batches of facts to be at work', async () => (await waiting()) === 2);
    let answered = false;
    begun = rebuild().then(() => {
      answered = true;
    });
    await waitFor('the rebuild to have begun, or to wait', async () => answered || (await waiting()) === 3);
    return id;
  });
  await begun;
  await letGo();
  await mesh.ready(during);
  await shown(during);
  expect(await whole(generation + 1)).toMatchObject({ notToldAgain: 0 });
  await expectBooksAsBefore();
});

test('it is not complete as long as one fact of it is at work', async () => {
  const { generation } = await status();
  const row = `SELECT FROM api_gateway.instance_view WHERE instance_id = '${ids[2]}' FOR UPDATE`;
  await whileLocked(row, async () => {
    await rebuild();
    await waitFor('a fact to be at work', async () => (await waiting()) > 0);
    await waitFor('all to be said and on its way', async () => {
      const said = ['capacity_planner', 'provisioner'].map((service) => mesh.sql(`SELECT 1 FROM ${service}.outbox`));
      const channel = await mesh.asAdministrator();
      const { messageCount } = await channel.checkQueue('api-gateway.facts');
      await channel.close();
      return messageCount === 0 && (await Promise.all(said)).flat().length === 0;
    });
    for (let n = 0; n < 20; n++) expect(await status()).toMatchObject({ state: 'rebuilding' });
  });
  expect(await whole(generation + 1)).toMatchObject({ notToldAgain: 0 });
  await expectBooksAsBefore();
});
