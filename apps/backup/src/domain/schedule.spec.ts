import { createHash } from 'node:crypto';
import { describe, expect, it, test } from '@jest/globals';
import fc from 'fast-check';
import { dayMs, hourMs, policyOf, weekMs } from './policy.js';
import { instantAfter, nextBackupAt, proofDepth, type Saved, type Scheduled, unsavedSince } from './schedule.js';

const at = (time: string) => new Date(`2026-11-${time}Z`);
const business = policyOf('business');
const instanceId = '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11';

/** Born at 1 November, 00:00, running, and never backed up. */
const instance = (change: Partial<Scheduled> = {}): Scheduled => ({
  instanceId,
  policy: business,
  state: 'running',
  quiesced: false,
  unsavedSince: at('01T00:00:00'),
  begunAt: null,
  newest: null,
  ...change,
});
const first = instantAfter(instanceId, business.everyMs, at('01T00:00:00'));
const plus = (date: Date, ms: number) => new Date(date.getTime() + ms);

const random = (number: number) => createHash('sha256').update(String(number)).digest('hex');
const tenThousand = (id: (number: number) => string) => Array.from({ length: 10_000 }, (_, number) => id(number));
const kinds = {
  /** Version 7: the first digits are the time. */
  'that came one after another': tenThousand((number) => {
    const hex = (0x0199f3c279d0 + number * 37).toString(16).padStart(12, '0');
    const rest = random(number);
    return `${hex.slice(0, 8)}-${hex.slice(8)}-7${rest.slice(0, 3)}-8${rest.slice(3, 6)}-${rest.slice(6, 18)}`;
  }),
  'numbered by hand': tenThousand((number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`),
};

describe.each(Object.entries(kinds))('ten thousand instances %s are a steady rate', (_, ids) => {
  const periods = [hourMs, 6 * hourMs, dayMs];
  const perBin = (everyMs: number, binMs: number) => {
    const counts = new Array<number>(everyMs / binMs).fill(0);
    for (const id of ids)
      counts[Math.floor((instantAfter(id, everyMs, new Date(everyMs)).getTime() % everyMs) / binMs)]! += 1;
    return counts;
  };

  // Chance is all there is between the minutes: no more than that, and no pattern. Five deviations: once in a million.
  it.each(periods)('each minute of %d ms', (everyMs) => {
    const mean = ids.length / (everyMs / 60_000);
    expect(Math.max(...perBin(everyMs, 60_000))).toBeLessThanOrEqual(mean + 5 * Math.sqrt(mean) + 1);
  });

  it.each(periods)('each quarter of %d ms, within a few percent', (everyMs) => {
    for (const count of perBin(everyMs, everyMs / 4)) expect(Math.abs(count / (ids.length / 4) - 1)).toBeLessThan(0.05);
  });
});

test('an instance has its instants, each a period after the one before', () => {
  fc.assert(
    fc.property(
      fc.uuid(),
      fc.constantFrom(hourMs, 6 * hourMs, dayMs),
      fc.integer({ min: 0, max: 2e12 }),
      (id, everyMs, ms) => {
        const next = instantAfter(id, everyMs, new Date(ms));
        expect(next.getTime()).toBeGreaterThan(ms);
        expect(next.getTime()).toBeLessThanOrEqual(ms + everyMs);
        expect(instantAfter(id, everyMs, next)).toEqual(plus(next, everyMs));
        expect(instantAfter(id, everyMs, plus(next, -1))).toEqual(next);
      },
    ),
  );
});

test('a new instance has its first within the period', () => {
  expect(nextBackupAt(instance())).toEqual(first);
  expect(first.getTime()).toBeLessThanOrEqual(at('01T06:00:00').getTime());
});

test('however many were missed, one makes up for them', () => {
  fc.assert(
    fc.property(
      fc.uuid(),
      fc.integer({ min: 1, max: 400 }),
      fc.integer({ min: 0, max: 6 * hourMs - 1 }),
      (id, missed, late) => {
        const one = instance({ instanceId: id });
        const due = nextBackupAt(one)!;
        const now = plus(due, missed * business.everyMs + late);
        expect(due.getTime()).toBeLessThan(now.getTime());
        const made = instance({ instanceId: id, begunAt: now, unsavedSince: now });
        expect(nextBackupAt(made)!.getTime()).toBeGreaterThan(now.getTime());
      },
    ),
  );
});

test('one that waited in the row past its instant is not followed by another at once', () => {
  const begunAt = first;
  const takenAt = plus(first, business.everyMs + 60_000);
  expect(nextBackupAt(instance({ begunAt, unsavedSince: takenAt }))).toEqual(plus(first, 2 * business.everyMs));
});

test('while one is under way there is no next one', () => {
  expect(nextBackupAt(instance({ begunAt: first, newest: 'under way' }))).toBeUndefined();
});

test('after a failure the next one does not wait for its instant, nor does it come at once', () => {
  const failed = { begunAt: first, newest: 'failed' } as const;
  expect(nextBackupAt(instance(failed))).toEqual(plus(first, hourMs));
  const often = policyOf('enterprise');
  const hourly = instantAfter(instanceId, hourMs, first);
  expect(nextBackupAt(instance({ ...failed, policy: often, begunAt: hourly }))).toEqual(plus(hourly, hourMs / 4));
});

test.each(['provisioning', 'failed', 'maintenance', 'terminating', 'purging', 'terminated'] as const)(
  'none while it is %s',
  (state) => expect(nextBackupAt(instance({ state }))).toBeUndefined(),
);

test('none while somebody works on it', () => {
  expect(nextBackupAt(instance({ quiesced: true }))).toBeUndefined();
});

test.each(['stopped', 'hibernated', 'suspended'] as const)(
  'one that is %s gets one more at its next instant, then one a week',
  (state) => {
    const due = nextBackupAt(instance({ state, begunAt: first, unsavedSince: first }))!;
    expect(due).toEqual(plus(first, business.everyMs));
    const next = nextBackupAt(instance({ state, begunAt: due, unsavedSince: null }))!;
    expect(next).toEqual(instantAfter(instanceId, weekMs, due));
  },
);

test('one that wakes after a long time is not due at once: nothing is unsaved but what comes now', () => {
  const since = at('20T08:00:00');
  expect(nextBackupAt(instance({ begunAt: at('12T00:00:00'), unsavedSince: since }))).toEqual(
    instantAfter(instanceId, business.everyMs, since),
  );
});

describe('what no good backup has', () => {
  type Look = readonly [state: Scheduled['state'], since: string, savedAt: string | null];
  const looks = (...seen: readonly Look[]) => {
    let before: Saved | undefined;
    for (const [state, since, saved] of seen) {
      const savedAt = saved === null ? null : at(saved);
      before = { unsavedSince: unsavedSince(before, { state, since: at(since), savedAt }), savedAt };
    }
    return before?.unsavedSince;
  };
  const [born, one, two, three] = ['01T00:00:00', '01T06:00:00', '01T12:00:00', '01T18:00:00'] as const;

  test.each<[string, Look[], string | null]>([
    ['all, before the first one', [['running', born, null]], born],
    [
      'what came after the newest',
      [
        ['running', born, null],
        ['running', born, one],
        ['running', born, two],
      ],
      two,
    ],
    [
      'nothing, of what was at rest before it',
      [
        ['running', born, one],
        ['stopped', two, one],
        ['stopped', two, three],
      ],
      null,
    ],
    [
      'what was done before it came to rest',
      [
        ['running', born, one],
        ['stopped', two, one],
      ],
      one,
    ],
    [
      'nothing, as long as it rests',
      [
        ['stopped', one, two],
        ['suspended', one, two],
      ],
      null,
    ],
    [
      'what came after it woke',
      [
        ['hibernated', one, two],
        ['running', three, two],
      ],
      three,
    ],
    [
      'what somebody did while it stood still',
      [
        ['stopped', one, two],
        ['maintenance', three, two],
      ],
      three,
    ],
    [
      'what happened while nobody looked',
      [
        ['stopped', one, two],
        ['stopped', three, two],
      ],
      three,
    ],
    [
      'what came after the one before, when the newest is bad',
      [
        ['running', born, one],
        ['running', born, two],
        ['running', born, one],
      ],
      one,
    ],
    [
      'all, when the only one is bad',
      [
        ['running', born, one],
        ['running', born, null],
      ],
      one,
    ],
    ['what may be, where nobody has looked before', [['running', two, one]], one],
  ])('%s', (_, seen, expected) => {
    expect(looks(...seen)).toEqual(expected && at(expected));
  });

  test('grows while it wakes and sleeps, more often than it is backed up', () => {
    const flaps = Array.from({ length: 60 }, (_, number) => {
      const minute = String(number).padStart(2, '0');
      return [number % 2 ? 'hibernated' : 'running', `02T00:${minute}:00`, one] as const;
    });
    expect(looks(['hibernated', born, one], ...flaps)).toEqual(at('02T00:00:00'));
  });
});

describe('how deep a proof goes', () => {
  const proof = (why: Parameters<typeof proofDepth>[0]['why'], takenAt: Date, fullAt: Date | null = null) =>
    proofDepth({ instanceId, policy: business, why, takenAt }, fullAt);
  const weekly = instantAfter(instanceId, weekMs, at('01T00:00:00'));

  test('full for what something irreversible waits for', () => {
    for (const why of ['final', 'pre-upgrade'] as const)
      expect(proof(why, plus(weekly, 2), plus(weekly, 1))).toBe('full');
  });

  test('full for the first one', () => {
    expect(proof('scheduled', weekly)).toBe('full');
  });

  test('else one a week, and no later each time', () => {
    let full = plus(weekly, 1);
    const fulls: Date[] = [];
    for (let taken = 1; taken <= 4 * 28; taken += 1) {
      const takenAt = plus(weekly, taken * 6 * hourMs + 1);
      if (proof('scheduled', takenAt, full) === 'light') continue;
      full = takenAt;
      fulls.push(takenAt);
    }
    expect(fulls).toEqual([1, 2, 3, 4].map((week) => plus(weekly, week * weekMs + 1)));
  });

  test('full again when the last full one failed', () => {
    const before = plus(weekly, -dayMs);
    expect(proof('scheduled', plus(weekly, 6 * hourMs), before)).toBe('full');
    expect(proof('scheduled', plus(weekly, 12 * hourMs), before)).toBe('full');
  });
});
