import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { type ConsumeContext, type MessageHandler, messagingMigrations } from '#messaging/index.js';
import { Database } from '#persistence/index.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import type { InstanceViews } from '../application/ports.js';
import * as projections from '../application/project-instance.handlers.js';
import type { InstanceView } from '../domain/instance-view.js';
import { gatewayMigrations } from './gateway.migration.js';
import { InstanceViewRepository } from './instance-view.repository.js';

let server: TestDatabase;
let database: Database;
let views: InstanceViewRepository;

beforeAll(async () => {
  server = await createTestDatabase('views');
  database = await Database.open({
    ...{ url: server.url, schema: server.schema, applicationName: 'views spec' },
    migrations: [...messagingMigrations, ...gatewayMigrations],
  });
  views = new InstanceViewRepository(database);
});
afterAll(async () => {
  await database?.close();
  await server?.drop();
});

/** A fact as the contract's example has it, with what the test changes. */
interface Said {
  readonly handler: new (views: InstanceViews) => MessageHandler;
  readonly key: string;
  readonly change: object;
}
const said = (handler: Said['handler'], key: string, change: object = {}): Said => ({ handler, key, change });

const since = '2026-11-23T11:00:00.000Z';
const placed = said(projections.ProjectPlacedHandler, 'instance.placed.v1');
const deferred = said(projections.ProjectDeferredHandler, 'instance.placement-deferred.v1');
const ready = said(projections.ProjectReadyHandler, 'instance.ready.v1');
const failed = said(projections.ProjectFailedHandler, 'instance.provisioning-failed.v1', {
  ...{ code: 'DEADLINE_EXCEEDED', message: 'it was not Ready in time' },
});
const ended = said(projections.ProjectTerminatedHandler, 'instance.terminated.v1');
const waits = said(projections.ProjectProgressHandler, 'instance.provisioning-progressed.v1', {
  ...{ step: 'volume', condition: { reason: 'VolumePending', message: 'not bound', since, fault: 'platform' } },
});
const lifecycle = (state: string, reason: string, change: object = {}) =>
  said(projections.ProjectStateHandler, 'instance.state-changed.v1', {
    ...{ state, reason, since, desired: state, operation: undefined, ...change },
  });

async function hear(instanceId: string, { handler, key, change }: Said): Promise<void> {
  const { data } = JSON.parse(readFileSync(`libs/contracts/fixtures/${key}/example.json`, 'utf8'));
  await database.transaction((tx) =>
    new handler(views).handle({ ...data, ...change, instanceId } as never, tx as ConsumeContext),
  );
}

/** What is shown of an instance of which this was heard, but for when. */
async function shown(facts: readonly Said[], instanceId = newId()): Promise<Omit<InstanceView, 'instanceId'>> {
  for (const fact of facts) await hear(instanceId, fact);
  const { instanceId: _, createdAt: _c, updatedAt: _u, stateSince: _s, ...view } = (await views.get(instanceId))!;
  return view as Omit<InstanceView, 'instanceId'>;
}

const permutations = <T>(of: readonly T[]): T[][] =>
  of.length < 2 ? [[...of]] : of.flatMap((one, i) => permutations(of.toSpliced(i, 1)).map((rest) => [one, ...rest]));

const renamed = {
  customDomains: ['erp.acme.example'],
  host: 'new-name.localhost',
  plan: { name: 'enterprise', version: 2 },
  image: 'odoo:18.0-2',
};
const lives: [string, Said[], object][] = [
  [
    'was renamed, resized, upgraded and stopped',
    [placed, waits, ready, lifecycle('stopped', 'requested', renamed)],
    {
      ...{ state: 'stopped', reason: 'requested', message: null, desired: 'stopped', plan: 'enterprise' },
      ...{ host: 'new-name.localhost', slug: 'new-name', image: 'odoo:18.0-2', step: 'ready', operation: null },
      ...{ url: expect.stringContaining('://new-name.localhost'), customDomains: ['erp.acme.example'] },
    },
  ],
  [
    'lifecycle calls provisioning waits for what the provisioner says',
    [placed, waits, lifecycle('provisioning', 'requested')],
    { state: 'provisioning', reason: 'VolumePending', message: 'not bound', step: 'volume' },
  ],
  [
    'lifecycle calls failed has failed for what the provisioner says',
    [placed, failed, lifecycle('failed', 'DEADLINE_EXCEEDED')],
    { state: 'failed', reason: 'DEADLINE_EXCEEDED', message: 'it was not Ready in time' },
  ],
  [
    'has failed as the provisioner says, who alone has spoken',
    [placed, failed],
    { state: 'failed', reason: 'DEADLINE_EXCEEDED', message: 'it was not Ready in time' },
  ],
  [
    'is Ready and was not taken over by lifecycle yet is shown as lifecycle says',
    [placed, deferred, ready, lifecycle('provisioning', 'requested')],
    { state: 'provisioning', reason: 'requested', step: 'ready', desired: 'provisioning' },
  ],
  [
    'was destroyed has ended, whatever else is said',
    [placed, ready, ended, lifecycle('purging', 'approved', renamed)],
    { state: 'terminated', reason: null, message: null, url: null, customDomains: [] },
  ],
  [
    'was ended before it was Ready says so',
    [placed, waits, lifecycle('terminated', 'cancelled')],
    { state: 'terminated', reason: 'cancelled', message: null, url: null },
  ],
  [
    'lifecycle has not spoken of is shown as before',
    [placed, deferred, ready],
    { state: 'running', reason: null, desired: null, image: null, operation: null },
  ],
];

test.each(lives)('an instance that %s, in whichever order its facts come', async (_, facts, view) => {
  for (const order of permutations(facts)) {
    const once = await shown(order);
    expect(once).toMatchObject(view);
    // And again: what comes twice changes nothing.
    expect(await shown([...order, ...order.toReversed()])).toEqual(once);
  }
});

test('an instance that is waked from a failure by somebody is made again, in lifecycle’s word', async () => {
  const instanceId = newId();
  await shown([placed, failed, lifecycle('failed', 'DEADLINE_EXCEEDED')], instanceId);
  const again = await shown([waits, lifecycle('provisioning', 'requested')], instanceId);
  expect(again).toMatchObject({ state: 'provisioning', reason: 'VolumePending', message: 'not bound' });
});

test('what is under way is shown until it is over', async () => {
  const instanceId = newId();
  const operation = { operationId: newId(), operation: 'stop' };
  expect(await shown([placed, ready, lifecycle('running', 'ready', { operation })], instanceId)).toMatchObject({
    ...{ state: 'running', operation },
  });
  expect(await shown([lifecycle('stopped', 'requested')], instanceId)).toMatchObject({ operation: null });
});

test('since when it is so is lifecycle’s word too, but for what its making waits for', async () => {
  const [stopped, waiting] = [newId(), newId()];
  await shown([placed, ready, lifecycle('stopped', 'requested')], stopped);
  expect((await views.get(stopped))!.stateSince).toEqual(new Date(since));
  await shown([placed, lifecycle('provisioning', 'requested'), waits], waiting);
  expect((await views.get(waiting))!.stateSince).not.toEqual(new Date(since));
});

test.each(lives)('an instance that %s is so too when all is told again', async (_, facts) => {
  const instanceId = newId();
  const before = await shown(facts, instanceId);
  for (const order of [facts, facts.toReversed()]) {
    await database.transaction((tx) => views.startAnew(tx));
    expect(await shown(order, instanceId)).toEqual(before);
  }
});

test('after a rebuild nothing is left of what lifecycle said before', async () => {
  const instanceId = newId();
  await shown([placed, ready, lifecycle('suspended', 'unpaid', renamed)], instanceId);
  await database.transaction((tx) => views.startAnew(tx));
  expect(await shown([placed, ready], instanceId)).toEqual(await shown([placed, ready]));
});

test('lists, counts, names and room go by what is shown', async () => {
  const customerId = newId();
  const of = (specification: object) =>
    said(projections.ProjectPlacedHandler, placed.key, { specification: { customerId, ...specification } });
  const [stopped, gone, waiting] = [newId(), newId(), newId()];
  await shown([of({ slug: 'a' }), ready, lifecycle('stopped', 'requested', { host: 'taken.localhost' })], stopped);
  await shown([of({ slug: 'b' }), lifecycle('terminated', 'cancelled', { host: 'free.localhost' })], gone);
  await shown([deferred], waiting);
  await database.query('UPDATE instance_view SET customer_id = $1', [customerId]);
  const list = async (state: 'stopped' | 'running' | 'provisioning' | 'terminated') =>
    (await views.list({ customerId, state, sort: 'created', limit: 500 })).map((one) => one.instanceId);
  expect(await list('stopped')).toContain(stopped);
  expect(await list('running')).not.toContain(stopped);
  expect(await list('provisioning')).not.toContain(gone);
  expect(await list('terminated')).toContain(gone);
  expect((await views.countByState()).get('stopped')).toBe((await list('stopped')).length);
  expect([await views.holderOf('taken'), await views.holderOf('free')]).toEqual([stopped, undefined]);
  const { instances } = await views.waiting();
  await shown([lifecycle('terminated', 'cancelled')], waiting);
  expect((await views.waiting()).instances).toBe(instances - 1);
});
