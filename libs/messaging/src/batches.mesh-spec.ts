import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { type ChannelModel, type ConfirmChannel, connect } from 'amqplib';
import fc from 'fast-check';
import {
  type Contract,
  type FactContract,
  HostReleased,
  InstanceProvisioningFailed,
  InstanceRefused,
  InstanceRequested,
  InstanceTerminated,
  newId,
  type PayloadOf,
} from '#contracts/index.js';
import { startTracing } from '#observability/index.js';
import { createTestBroker, type TestBroker } from '#testing/broker.js';
import { TestService } from '#testing/test-service.js';
import { waitFor } from '#testing/wait-for.js';
import { type ConsumeContext, MessageHandler, on, onEvery, TerminalError } from './index.js';

/** What the handler in batches does with a message, by its behaviour. */
const behaviours = new Map<string, () => void>();
/** While closed, handlers of messages that say `wait` wait. */
let gate = Promise.resolve();
let open = () => {};
let called: string[] = [];

async function note(kind: string, ctx: ConsumeContext): Promise<void> {
  const { id, subject, sequence } = ctx.message;
  await ctx.query('INSERT INTO effect (kind, id, subject, sequence) VALUES ($1, $2, $3, $4)', [
    ...[kind, id, subject, sequence],
  ]);
}

/** Of a fact of which the newest counts. */
@Injectable()
class NewestHandler extends MessageHandler<typeof InstanceProvisioningFailed> {
  async handle(_: unknown, ctx: ConsumeContext): Promise<void> {
    await note('newest', ctx);
  }
}

@Injectable()
class StoryHandler extends MessageHandler<FactContract> {
  async handle(_: unknown, ctx: ConsumeContext): Promise<void> {
    await note('story', ctx);
  }
}

/** Of a fact of which all count; says something of its own. Only the service with batches has it. */
@Injectable()
class EachHandler extends MessageHandler<typeof InstanceTerminated> {
  async handle(data: PayloadOf<typeof InstanceTerminated>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, removed } = data;
    await note('each', ctx);
    called.push(ctx.message.id);
    if (removed[0] === 'wait') await gate;
    behaviours.get(removed[0]!)?.();
    await ctx.publish(HostReleased, { host: ctx.message.id, instanceId });
  }
}

@Injectable()
class AnswerHandler extends MessageHandler<typeof InstanceRefused> {
  async handle(_: unknown, ctx: ConsumeContext): Promise<void> {
    await note('answer', ctx);
  }
}

/** The gateway hears the answers to what it asked. */
const answers = [AnswerHandler];
const handlers = [NewestHandler, StoryHandler, EachHandler];
const hears = (batch: boolean) => [
  on(InstanceProvisioningFailed, NewestHandler, { every: StoryHandler, batch }),
  onEvery(InstanceTerminated, EachHandler, { batch }),
];

/** Of all services here, when they have ended. */
const spans: ReadableSpan[] = [];
const tracing = startTracing({
  service: 'batches spec',
  exporter: {
    export: (ended, done) => {
      spans.push(...ended);
      done({ code: 0 });
    },
    forceFlush: async () => {},
    shutdown: async () => {},
  },
});

let broker: TestBroker;
let admin: ChannelModel;
let speaker: ConfirmChannel;
let speaking: ChannelModel;
/** Hears in batches. */
let batching: TestService;
/** Hears the same, one after the other. */
let inline: TestService;
let gateway: TestService;
const parked: { id: string; headers: Record<string, unknown> }[] = [];

beforeAll(async () => {
  broker = await createTestBroker('batches', ['api-gateway', 'capacity-planner', 'lifecycle', 'provisioner']);
  admin = await connect(broker.adminUrl);
  speaking = await connect(broker.urlOf('provisioner'));
  speaker = await speaking.createConfirmChannel();
  batching = await TestService.start(broker, 'capacity-planner', hears(true), handlers);
  inline = await TestService.start(broker, 'lifecycle', hears(false).slice(0, 1), handlers.slice(0, 2), {
    prefetch: 1,
  });
  gateway = await TestService.start(
    broker,
    'api-gateway',
    [on(InstanceRefused, AnswerHandler, { batch: true })],
    answers,
  );
  const channel = await admin.createChannel();
  await channel.consume(
    'capacity-planner.parked',
    (one) => one && parked.push({ id: JSON.parse(one.content.toString()).id, headers: one.properties.headers ?? {} }),
    { noAck: true },
  );
  for (const service of [batching, inline, gateway])
    await service.database.query(
      'CREATE TABLE effect (seq bigint GENERATED ALWAYS AS IDENTITY, kind text, id text, subject text, sequence bigint)',
    );
});
afterAll(async () => {
  await Promise.all([batching?.stop(), inline?.stop(), gateway?.stop()]);
  await Promise.all([admin?.close(), speaking?.close()]);
  await Promise.all([broker?.drop(), tracing.shutdown()]);
});
beforeEach(() => {
  called = [];
  batching.troubles.length = 0;
});
afterEach(() => open());

interface Said {
  readonly id: string;
  readonly contract: Contract;
  readonly subject: string;
  readonly sequence: number;
  readonly data: object;
  readonly traceparent?: string;
}

const failed = (subject: string, sequence: number): Said => ({
  ...{ id: newId(), contract: InstanceProvisioningFailed, subject, sequence },
  data: {
    ...{ instanceId: subject, footprintId: subject, code: 'LATE', message: 'too late' },
    ...{ fault: 'platform', retryable: false },
  },
});
const terminated = (subject: string, behaviour: string, traceparent?: string): Said => ({
  ...{ id: newId(), contract: InstanceTerminated, subject, sequence: 1, ...(traceparent && { traceparent }) },
  data: { instanceId: subject, approvalId: '1', removed: [behaviour] },
});

function bodyOf({ contract, data, ...rest }: Said): Buffer {
  const envelope = { specversion: '1.0', source: 'provisioner', type: contract.type, data, ...rest };
  return Buffer.from(JSON.stringify(envelope));
}

async function say(facts: readonly Said[]): Promise<void> {
  const userId = `${broker.vhost}-provisioner`;
  for (const fact of facts)
    speaker.publish('mesh.events', fact.contract.key, bodyOf(fact), { persistent: true, userId });
  await speaker.waitForConfirms();
}

async function nothingReady(queue: string): Promise<void> {
  const channel = await admin.createChannel();
  await waitFor(`nobody to wait in ${queue}`, async () => (await channel.checkQueue(queue)).messageCount === 0);
  await channel.close();
}

/** These facts are in hand together, so they make one batch: both that may be at work stand still meanwhile. */
async function sayTogether(facts: readonly Said[], more = async () => {}): Promise<void> {
  gate = new Promise((resolve) => {
    open = resolve;
  });
  for (let n = 0; n < 2; n++) {
    const one = terminated(newId(), 'wait');
    await say([one]);
    await waitFor('it to be at work', () => called.includes(one.id));
  }
  await say(facts);
  await more();
  await nothingReady('capacity-planner.facts');
  open();
}

interface Effect {
  readonly kind: string;
  readonly id: string;
  readonly subject: string;
  readonly sequence: string;
  readonly tx: string;
}

const effectsOf = (service: TestService, subjects: readonly string[]) =>
  service.database.query<Effect>(
    'SELECT kind, id, subject, sequence, xmin::text AS tx FROM effect WHERE subject = ANY($1) ORDER BY seq',
    [subjects],
  );
const inboxOf = (service: TestService, facts: readonly Said[]) =>
  service.database.query('SELECT 1 FROM inbox WHERE message_id = ANY($1)', [facts.map(({ id }) => id)]);
const allNoted = (service: TestService, facts: readonly Said[]) => {
  const ids = new Set(facts.map(({ id }) => id));
  return waitFor('all of them', async () => (await inboxOf(service, facts)).length === ids.size);
};

const undone = () => batching.troubles.filter(({ what }) => what === 'batch undone, handled one by one').length;

test('facts that have come together are committed together', async () => {
  const subjects = Array.from({ length: 30 }, () => newId());
  const facts = subjects.map((subject, n) => (n % 2 ? terminated(subject, 'plain') : failed(subject, 1)));
  await sayTogether(facts);
  await allNoted(batching, facts);
  const effects = await effectsOf(batching, subjects);
  expect(new Set(effects.map(({ id }) => id))).toEqual(new Set(facts.map(({ id }) => id)));
  expect(new Set(effects.map(({ tx }) => tx)).size).toBe(1);
});

test('whatever comes in a batch, it ends as if it had been handled one after the other', async () => {
  const arrival = fc.record({ subject: fc.nat(2), sequence: fc.integer({ min: 1, max: 6 }), repeats: fc.boolean() });
  const arrivals = fc.array(arrival, { minLength: 1, maxLength: 25 });
  await fc.assert(
    fc.asyncProperty(arrivals, arrivals, async (...rounds) => {
      const subjects = [newId(), newId(), newId()];
      const all: Said[] = [];
      // The second batch meets what the first one left.
      for (const round of rounds) {
        const facts = round.flatMap(({ subject, sequence, repeats }) => {
          const fact = failed(subjects[subject]!, sequence);
          return repeats ? [fact, fact] : [fact];
        });
        await sayTogether(facts);
        all.push(...facts);
        await Promise.all([allNoted(batching, facts), allNoted(inline, facts)]);
        await nothingReady('lifecycle.facts');
      }
      for (const subject of subjects) {
        const [ours, theirs] = await Promise.all([effectsOf(batching, [subject]), effectsOf(inline, [subject])]);
        const said = ({ kind, id }: Effect) => `${kind} ${id}`;
        expect(ours.map(said)).toEqual(theirs.map(said));
      }
      const heard = 'SELECT subject, sequence FROM heard WHERE subject = ANY($1) ORDER BY 1';
      expect(await batching.database.query(heard, [subjects])).toEqual(await inline.database.query(heard, [subjects]));
    }),
    { numRuns: 8 },
  );
});

test('what is said in a batch carries the trace and the cause of its own message', async () => {
  const traces = Array.from({ length: 12 }, (_, n) => `00-4bf92f3577b34da6a3ce929d0e0e47${n + 10}-00f067aa0ba902b7-01`);
  const facts = traces.map((traceparent) => terminated(newId(), 'plain', traceparent));
  const channel = await admin.createChannel();
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.bindQueue(queue, 'mesh.events', HostReleased.key);
  const heard: { causationid: string; traceparent: string; data: { host: string } }[] = [];
  await channel.consume(queue, (one) => one && heard.push(JSON.parse(one.content.toString())), { noAck: true });
  await sayTogether(facts);
  await waitFor('all of it', () => facts.every(({ id }) => heard.some(({ data }) => data.host === id)));
  await channel.close();
  for (const { id, traceparent } of facts)
    expect(heard.find(({ data }) => data.host === id)).toMatchObject({ causationid: id, traceparent });
  expect(
    new Set(
      (
        await effectsOf(
          batching,
          facts.map(({ subject }) => subject),
        )
      ).map(({ tx }) => tx),
    ).size,
  ).toBe(1);
});

test.each([
  ['done', 'plain', 0],
  ['undone', 'unlucky-once', 1],
])('each message of a batch that was %s has one span, below its own publisher', async (_, behaviour, timesUndone) => {
  let failures = 0;
  behaviours.set('unlucky-once', () => {
    if (failures++ < 1) throw new Error('not in company');
  });
  const facts = Array.from({ length: 6 }, (__, n) =>
    terminated(newId(), n === 3 ? behaviour : 'plain', `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b${n}-01`),
  );
  await sayTogether(facts);
  await allNoted(batching, facts);
  const spanOf = ({ id }: Said) =>
    spans.filter(
      ({ name, attributes }) => name === 'process capacity-planner.facts' && attributes['messaging.message.id'] === id,
    );
  await waitFor('their spans', () => facts.every((fact) => spanOf(fact).length > 0));
  for (const fact of facts) {
    const [span, ...others] = spanOf(fact);
    expect(others).toEqual([]);
    expect(span!.attributes).toMatchObject({ 'mesh.verdict': 'handled', 'mesh.attempt': 1 });
    expect(span!.parentSpanContext?.spanId).toBe(fact.traceparent!.split('-')[2]);
  }
  expect(undone()).toBe(timesUndone);
});

test('one that fails among others is tried as often as without them, and they are done once', async () => {
  let calls = 0;
  behaviours.set('unlucky', () => {
    calls += 1;
    throw new Error('the world is away');
  });
  const subjects = Array.from({ length: 20 }, () => newId());
  const facts = subjects.map((subject, n) => terminated(subject, n === 7 ? 'unlucky' : 'plain'));
  await sayTogether(facts);
  const message = await waitFor('the parked one', () => parked.find(({ id }) => id === facts[7]!.id));
  expect(message.headers).toMatchObject({ 'mesh-reason': 'exhausted', 'mesh-attempt': 3 });
  // Three deliveries with two quick tries more each, and once in the batch, in which it was undone with the others.
  expect(calls).toBe(9 + 1);
  await allNoted(batching, [...facts.slice(0, 7), ...facts.slice(8)]);
  const effects = await effectsOf(batching, subjects);
  expect(effects.map(({ kind, id }) => `${kind} ${id}`).sort()).toEqual(
    facts
      .filter(({ id }) => id !== facts[7]!.id)
      .map(({ id }) => `each ${id}`)
      .sort(),
  );
  expect(undone()).toBe(1);
});

test('what failed before is handled by itself: it disturbs nobody any more', async () => {
  behaviours.set('unlucky', () => {
    throw new Error('the world is away');
  });
  const again = terminated(newId(), 'unlucky');
  const facts = Array.from({ length: 5 }, () => terminated(newId(), 'plain'));
  await sayTogether(facts, async () => {
    // As the service's own copy comes back from its delay.
    const own = await connect(broker.urlOf('capacity-planner'));
    const channel = await own.createConfirmChannel();
    const userId = `${broker.vhost}-capacity-planner`;
    const headers = { 'mesh-attempt': 3, 'mesh-publisher': `${broker.vhost}-provisioner` };
    channel.publish('capacity-planner.retry', 'capacity-planner.facts', bodyOf(again), { userId, headers });
    await channel.waitForConfirms();
    await own.close();
  });
  await waitFor('the parked one', () => parked.find(({ id }) => id === again.id));
  await allNoted(batching, facts);
  expect(undone()).toBe(0);
});

test('one that can never be handled is parked at once, and its neighbours are done', async () => {
  behaviours.set('hopeless', () => {
    throw new TerminalError('it will never work');
  });
  const facts = Array.from({ length: 5 }, (_, n) => terminated(newId(), n === 2 ? 'hopeless' : 'plain'));
  await sayTogether(facts);
  const message = await waitFor('the parked one', () => parked.find(({ id }) => id === facts[2]!.id));
  expect(message.headers).toMatchObject({ 'mesh-reason': 'terminal', 'mesh-error': 'it will never work' });
  await allNoted(batching, [...facts.slice(0, 2), ...facts.slice(3)]);
});

test('answers that come together settle what was asked', async () => {
  const wish = {
    ...{ slug: 'acme', customerId: 'c-1', plan: 'business', odooVersion: '18.0', company: 'ACME' },
    adminLogin: 'me@acme.example',
  };
  // The planner does not hear requests here; its answers are said for it.
  const ids: string[] = [];
  await gateway.outbox.transaction({}, async (ctx) => {
    for (let n = 0; n < 10; n++) ids.push(await ctx.publish(InstanceRequested, { ...wish, instanceId: newId() }));
  });
  for (const causationId of ids)
    await batching.outbox.transaction({ causationId }, (ctx) =>
      ctx.publish(InstanceRefused, {
        ...{ requestId: causationId, instanceId: newId(), code: 'slug-taken', fault: 'user', message: 'taken' },
      }),
    );
  const asked = 'SELECT 1 FROM asked WHERE message_id = ANY($1)';
  await waitFor('nothing to be asked', async () => (await gateway.database.query(asked, [ids])).length === 0);
  expect(await effectsOf(gateway, ids)).toHaveLength(10);
});
