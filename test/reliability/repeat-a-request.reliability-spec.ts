import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { newId } from '#contracts/index.js';
import { at, completed, type Sign, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

let mesh: TestMesh;
let proxies: ServiceProxies;
/** Every request for an instance that was on the wire. */
const asked: { id: string; slug: string }[] = [];

beforeAll(async () => {
  mesh = await TestMesh.start({ start: ['capacity-planner', 'provisioner'] });
  proxies = await ServiceProxies.before(mesh, 'api-gateway');
  const channel = await mesh.asAdministrator();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'mesh.events', 'instance.requested.v1');
  await channel.consume(queue, (message) => {
    const { id, data } = JSON.parse(message!.content.toString());
    asked.push({ id, slug: data.slug });
    channel.ack(message!);
  });
  await mesh.services.start('api-gateway');
});
afterAll(async () => {
  await mesh?.stop();
  await proxies?.close();
});

/** One caller with one wish, who says it again until it is answered. */
class Caller {
  private readonly headers = { 'idempotency-key': newId() };
  /** All that was answered. */
  readonly passwords: (string | null)[] = [];

  constructor(readonly slug: string) {}

  /** @returns undefined: no answer came. */
  async ask() {
    const body = {
      ...{ slug: this.slug, customerId: 'c-1', plan: 'starter', odooVersion: '18.0' },
      ...{ company: 'Repeats Ltd', adminLogin: 'me@repeats.example' },
    };
    const answer = await mesh
      .api('/v1/instances', { method: 'POST', body, headers: this.headers })
      .catch(() => undefined);
    if (answer?.status === 202) this.passwords.push(answer.body.adminPassword);
    return answer;
  }

  get toldPasswords(): number {
    return this.passwords.filter((password) => password !== null).length;
  }
}

/** The instance of the last answer is Ready, and it is the only one that this wish has led to. */
async function expectOne(caller: Caller, { instanceId, operationId }: { instanceId: string; operationId: string }) {
  await mesh.ready(instanceId);
  const once = asked.filter(({ slug }) => slug === caller.slug).map(({ id }) => id);
  expect(new Set(once)).toEqual(new Set([operationId]));
  const placed = await mesh.sql(
    `SELECT instance_id FROM capacity_planner.placement WHERE specification->>'slug' = $1`,
    [caller.slug],
  );
  expect(placed).toEqual([{ instance_id: instanceId }]);
  const shown = await mesh.sql('SELECT instance_id FROM api_gateway.instance_view WHERE slug = $1', [caller.slug]);
  expect(shown).toEqual([{ instance_id: instanceId }]);
}

const noted = (): Sign => statement(proxies.database, 'INSERT INTO repeat');
const answerKept = (): Sign => statement(proxies.database, 'UPDATE repeat SET answer');
const commit = (): Sign => statement(proxies.database, 'COMMIT');
const committed = (): Sign => completed(proxies.database, 'COMMIT');

test.each([
  ['at its note', 0, () => [noted()]],
  ['before COMMIT', 0, () => [noted(), answerKept()]],
  ['after COMMIT', 1, () => [noted(), answerKept(), commit(), committed()]],
])('the gateway is killed %s: the repeat leads to one instance', async (point, doneBefore, signs) => {
  const caller = new Caller(`killed-${point.replaceAll(' ', '-').toLowerCase()}`);
  let killed: Promise<void> | undefined;
  void at(signs(), () => {
    killed = mesh.services.kill('api-gateway');
    return undefined;
  });
  expect(await caller.ask()).toBeUndefined();
  await waitFor('the gateway to come to that point', () => killed !== undefined);
  await killed;
  const before = await mesh.sql<{ operation_id: string }>(
    'SELECT operation_id FROM api_gateway.instance_view WHERE slug = $1',
    [caller.slug],
  );
  expect(before).toHaveLength(doneBefore);
  await mesh.services.start('api-gateway');

  const [repeat, again] = [await caller.ask(), await caller.ask()];
  expect([repeat, again]).toMatchObject([{ status: 202 }, { status: 202 }]);
  for (const { operation_id } of before) expect(repeat!.body.operationId).toBe(operation_id);
  expect(again!.body.operationId).toBe(repeat!.body.operationId);
  // Once, to who asked first; not at all when that answer was lost.
  expect(caller.passwords).toEqual(doneBefore ? [null, null] : [expect.any(String), null]);
  expect(again!.body.passwordReset).toContain('reset_password');
  await expectOne(caller, repeat!.body);
});

test.each([
  ['the answer to COMMIT is lost', () => [noted(), answerKept(), commit(), committed()], 0],
  ['COMMIT itself is lost', () => [noted(), answerKept(), commit()], 1],
])('%s: nobody claims to know, and the repeat leads to one instance', async (what, signs, told) => {
  const caller = new Caller(what.replaceAll(' ', '-').toLowerCase());
  void at(signs(), () => 'cut');
  expect(await caller.ask()).toMatchObject({ status: 500, body: { code: 'internal', fault: 'platform' } });
  const repeat = await caller.ask();
  expect(repeat).toMatchObject({ status: 202 });
  expect((await caller.ask())!.body.operationId).toBe(repeat!.body.operationId);
  expect(caller.toldPasswords).toBe(told);
  await expectOne(caller, repeat!.body);
});

test('a repeat that comes while the first one is at work waits for it, and is answered as it is', async () => {
  const caller = new Caller('at-work');
  const other = new Client({ connectionString: mesh.installed.meshDatabaseUrl });
  await other.connect();
  const waiting = async () =>
    (
      await mesh.sql(
        `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = $1 AND query ~ 'repeat|outbox'`,
        [`${mesh.name}_api_gateway`],
      )
    ).length;
  let answers: ReturnType<Caller['ask']>[];
  try {
    await other.query('BEGIN');
    await other.query('LOCK TABLE api_gateway.asked IN SHARE MODE');
    answers = [caller.ask()];
    await waitFor('the first to be at work', async () => (await waiting()) === 1);
    answers.push(caller.ask());
    await waitFor('the repeat to wait', async () => (await waiting()) === 2);
  } finally {
    await other.end();
  }
  const [first, repeat] = await Promise.all(answers);
  expect([first, repeat]).toMatchObject([{ status: 202 }, { status: 202 }]);
  expect(repeat!.body.operationId).toBe(first!.body.operationId);
  expect([first!.body.adminPassword, repeat!.body.adminPassword]).toEqual([expect.any(String), null]);
  await expectOne(caller, first!.body);
});
