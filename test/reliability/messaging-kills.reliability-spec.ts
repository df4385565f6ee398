import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { at, completed, frame, killAt, type Sign, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { Actors, evenBooks } from './fixtures/actors.js';

/** Longer than any wait of a healthy run, so that only what hangs gets there. */
const statementLimitMs = 3_000;
/** Of one transaction: all of it is one batch of the relay. */
const batch = 60;
let actors: Actors;

beforeAll(async () => {
  actors = await Actors.start('kills', { statementLimitMs });
});
afterAll(() => actors?.stop());
afterEach(async () => {
  actors.brokerOf.talker.faults.splitAt = undefined;
  expect(await actors.settled()).toEqual(evenBooks);
});

const sayTogether = () => actors.talker.tell({ do: 'say together', subjects: actors.subjects, count: batch });

/** The moment may never come. */
const happened = (moment: Promise<void>) => waitFor('the moment', () => moment.then(() => true));

type Moment = [name: string, signs: () => readonly Sign[], then: 'cut' | undefined];

test.each<Moment>([
  ['after it claimed the rows', () => [completed(actors.databaseOf.talker, 'DELETE [1-9]')], 'cut'],
  [
    'in the middle of publishing',
    () => {
      actors.brokerOf.talker.faults.splitAt = 1_500;
      return Array(10).fill(frame(actors.brokerOf.talker, 'basic.publish'));
    },
    'cut',
  ],
  ['before it has a confirm', () => [frame(actors.brokerOf.talker, 'basic.ack', 'down')], 'cut'],
  [
    'before its COMMIT',
    () => [frame(actors.brokerOf.talker, 'basic.ack', 'down'), statement(actors.databaseOf.talker, 'COMMIT')],
    'cut',
  ],
  [
    'after its COMMIT',
    () => [frame(actors.brokerOf.talker, 'basic.ack', 'down'), completed(actors.databaseOf.talker, 'COMMIT')],
    undefined,
  ],
])('the relay is killed %s: all is sent, at most one batch twice, and done once', async (name, signs, then) => {
  const [before, wire] = [await actors.told(), await actors.listen()];
  const killed = killAt(actors.talker.process, signs(), then);
  sayTogether().catch(() => {});
  await happened(killed);
  actors.brokerOf.talker.faults.splitAt = undefined;
  await actors.restart('talker');
  expect(await actors.settled()).toEqual(evenBooks);
  expect(await actors.told()).toBe(before + batch);
  // What the hearer asks for meanwhile is on the wire too.
  const facts = wire.heard.filter(({ fields }) => !/^(instance\.refused|republish)/.test(fields.routingKey));
  await waitFor('all of them on the wire', () => facts.length >= batch);
  await wire.end();
  const ids = new Set(facts.map(({ properties }) => properties.messageId));
  console.log(`relay killed ${name}: ${ids.size} sent, ${facts.length - ids.size} of them twice`);
  expect(ids.size).toBe(batch);
  expect(facts.length - ids.size).toBeLessThanOrEqual(batch);
});

test.each<[name: string, signs: () => readonly Sign[]]>([
  ['before its transaction', () => [frame(actors.brokerOf.hearer, 'basic.deliver', 'down')]],
  ['in its transaction', () => [statement(actors.databaseOf.hearer, 'INSERT INTO effect')]],
  [
    'after its COMMIT and before its acknowledgement',
    () => [statement(actors.databaseOf.hearer, 'INSERT INTO effect'), completed(actors.databaseOf.hearer, 'COMMIT')],
  ],
  ['after its acknowledgement', () => [frame(actors.brokerOf.hearer, 'basic.ack')]],
])('the consumer is killed %s: each effect is there once', async (_, signs) => {
  const killed = killAt(actors.hearer.process, signs());
  await sayTogether();
  await happened(killed);
  await actors.restart('hearer');
});

const commits: [string, () => readonly Sign[]][] = [
  [
    'the consumer',
    () => [statement(actors.databaseOf.hearer, 'INSERT INTO effect'), completed(actors.databaseOf.hearer, 'COMMIT')],
  ],
  [
    'the relay',
    () => [frame(actors.brokerOf.talker, 'basic.ack', 'down'), completed(actors.databaseOf.talker, 'COMMIT')],
  ],
  [
    'the one who says it',
    () => [statement(actors.databaseOf.talker, 'INSERT INTO told'), completed(actors.databaseOf.talker, 'COMMIT')],
  ],
];

test.each(commits)(
  '%s never hears that its COMMIT was done: no effect is doubled, none lost, nothing is parked',
  async (_, signs) => {
    const before = await actors.told();
    const swallowed = at(signs(), () => 'cut');
    await sayTogether();
    await happened(swallowed);
    expect(await actors.told()).toBe(before + batch);
  },
);

const halfOpen: [string, 'talker' | 'hearer', string, () => readonly Sign[]][] = [
  [
    'the consumer',
    'hearer',
    'message held: the database is away',
    () => [statement(actors.databaseOf.hearer, 'INSERT INTO effect'), statement(actors.databaseOf.hearer, 'COMMIT')],
  ],
  [
    'the relay',
    'talker',
    'outbox not sent',
    () => [frame(actors.brokerOf.talker, 'basic.ack', 'down'), statement(actors.databaseOf.talker, 'COMMIT')],
  ],
];

test.each(halfOpen)(
  "%s's way to its database goes half-open in a COMMIT: it does not hang, and all is done once",
  async (name, role, trouble, signs) => {
    const proxy = actors.databaseOf[role];
    const begun = Date.now();
    const stalled = at(signs(), () => {
      proxy.stall(true);
      return undefined;
    });
    try {
      await sayTogether();
      await happened(stalled);
      const noticed = await waitFor('it to give the connection up', () =>
        actors[role].troubles(begun).find(({ what, error }) => what === trouble && error.includes('silent')),
      );
      console.log(
        `half-open, ${name}: given up after ${noticed.at - begun} ms, the limit being ${(statementLimitMs * 4) / 3}`,
      );
    } finally {
      proxy.stall(false);
    }
  },
);
