import { afterAll, afterEach, beforeAll, expect, jest, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm } from '../e2e/config.js';
import { Actors, evenBooks, type Fact } from './fixtures/actors.js';

if (longForm()) jest.setTimeout(600_000);
let actors: Actors;

beforeAll(async () => {
  actors = await Actors.start('order', { prefetch: 30 });
});
afterAll(() => actors?.stop());
afterEach(async () => expect(await actors.settled(60_000)).toEqual(evenBooks));

interface Effect {
  readonly id: string;
  readonly kind: 'every' | 'newest';
  readonly subject: string;
  readonly version: number;
  readonly note: string | null;
}

const effectsOf = (subjects: readonly string[]) =>
  actors.sql<Effect>('hearer', 'SELECT * FROM effect WHERE subject = ANY($1) ORDER BY seq', [subjects]);

/** Version `version` of a subject, as a fact of which all count, or of which the newest counts. */
function factOf(kind: 'every' | 'newest', subject: string, version: number): Fact {
  const common = { id: newId(), subject, sequence: version };
  if (kind === 'every') {
    const data = { instanceId: subject, approvalId: String(version), removed: [] };
    return { ...common, key: 'instance.terminated.v1', data };
  }
  const data = { instanceId: subject, footprintId: subject, code: String(version), message: 'plain' };
  const failed = { ...data, fault: 'platform', retryable: false };
  return { ...common, key: 'instance.provisioning-failed.v1', data: failed };
}

/** Each one three times, none further than `within` places from where it belongs. */
function threeTimesShuffled(facts: readonly Fact[], within: number): Fact[] {
  const at = facts.flatMap((fact, n) => [0, 1, 2].map(() => ({ fact, place: n * 3 + Math.random() * within })));
  return at.sort((a, b) => a.place - b.place).map(({ fact }) => fact);
}

test('every message comes three times and out of order: each effect is there once, and the end is that of an orderly run', async () => {
  const rounds = longForm() ? 20 : 3;
  for (let round = 0; round < rounds; round++) {
    const subjects = Array.from({ length: 4 }, () => newId());
    const versions = 50;
    const facts = Array.from({ length: versions }, (_, n) =>
      subjects.flatMap((subject) => [factOf('every', subject, n + 1), factOf('newest', subject, n + 1)]),
    ).flat();
    await actors.publish(threeTimesShuffled(facts, 50));
    const every = facts.filter(({ key }) => key.startsWith('instance.terminated'));
    const effects = await waitFor('all of them', async () => {
      const all = await effectsOf(subjects);
      const newest = new Map(all.filter(({ kind }) => kind === 'newest').map((one) => [one.subject, one.version]));
      const complete = subjects.every((subject) => newest.get(subject) === versions);
      return complete && all.filter(({ kind }) => kind === 'every').length >= every.length ? all : undefined;
    });
    await actors.settled();
    expect(await effectsOf(subjects)).toHaveLength(effects.length);
    expect(facts.length - effects.length).toBeGreaterThan(0);
    expect(new Set(effects.map(({ id }) => id)).size).toBe(effects.length);
    expect(effects.filter(({ kind }) => kind === 'every')).toHaveLength(every.length);
    for (const subject of subjects) {
      const applied = effects.filter((one) => one.kind === 'newest' && one.subject === subject);
      expect(applied.map(({ version }) => version)).toEqual(
        applied.map(({ version }) => version).toSorted((a, b) => a - b),
      );
      expect(applied.at(-1)!.version).toBe(versions);
    }
    const overtaken = facts.length - effects.length;
    console.log(`round ${round}: ${3 * facts.length} came, ${effects.length} effects, ${overtaken} overtaken`);
  }
});

test('transactions that are open together commit in another order than they began: none is skipped', async () => {
  const before = await actors.told();
  const transactions = longForm() ? 10_000 : 1_000;
  const subjects = Array.from({ length: 500 }, () => newId());
  const order = { do: 'say', subjects, count: transactions, atOnce: 20, holdMs: 60 } as const;
  await actors.talker.tell(order, 120_000);
  expect(await actors.settled(60_000)).toEqual(evenBooks);
  expect(await actors.told()).toBe(before + transactions);
  // The outbox counted them as they were written; by when they were done one sees how they were sent.
  const [{ late }] = (await actors.sql<{ late: number }>(
    'hearer',
    `SELECT count(*)::int AS late FROM (SELECT id < max(id) OVER (ORDER BY seq) AS overtaken FROM effect
       WHERE subject = ANY($1)) AS e WHERE overtaken`,
    [subjects],
  )) as [{ late: number }];
  console.log(`${transactions} transactions, ${late} of them were sent after one that began later`);
  expect(late).toBeGreaterThan(transactions / 10);
});

test('two versions of both sides are rolled in under load: no message is parked and none is lost', async () => {
  const before = await actors.told();
  const load = actors.load();
  const [oldTalker, oldHearer] = [actors.talker, actors.hearer];
  const newHearer = await actors.join('hearer', '2');
  const newTalker = await actors.join('talker', '2');
  const newLoad = newTalker.tell({ do: 'say', subjects: actors.subjects, count: 1e9, everyMs: 20 }, 120_000);
  newLoad.catch(() => {});
  const strangers = actors.subjects.map((subject, n) => {
    const fact = factOf('every', subject, 1_000 + n);
    return { ...fact, data: { ...fact.data, colour: 'green' }, more: { partitionkey: 'x', tenantid: 7 } };
  });
  await actors.publish(strangers);
  const noted = (version: number) => async () =>
    (await actors.sql<{ n: number }>('hearer', 'SELECT count(*)::int AS n FROM effect WHERE note IS NOT NULL'))[0]!.n >
    version;
  await waitFor('both versions to talk and to hear', noted(20));
  expect(await oldHearer.process.stop()).toEqual({ code: 0, signal: null });
  await load.end();
  expect(await oldTalker.process.stop()).toEqual({ code: 0, signal: null });
  // And back again, as an operator does it who does not like the new one.
  const again = await actors.join('hearer', '1');
  expect(await newHearer.process.stop()).toEqual({ code: 0, signal: null });
  await newTalker.tell({ do: 'hush' });
  await newLoad;
  actors.hearer = again;
  actors.talker = newTalker;
  expect(await actors.settled(60_000)).toEqual(evenBooks);
  const done = await actors.sql<{ id: string }>('hearer', 'SELECT id FROM effect WHERE id = ANY($1)', [
    strangers.map(({ id }) => id),
  ]);
  expect(done).toHaveLength(strangers.length);
  console.log(`rolled in and back: ${(await actors.told()) - before} said by two versions, heard by two`);
});
