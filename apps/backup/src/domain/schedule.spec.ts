import { createHash } from 'node:crypto';
import { describe, expect, it, test } from '@jest/globals';
import fc from 'fast-check';
import { dayMs, hourMs, policyOf, weekMs } from './policy.js';
import {
  instantAfter,
  nextBackupAt,
  proofDepth,
  type Scheduled,
  unsavedAfterBackup,
  unsavedAfterChange,
  unsavedAfterLoss,
  unsavedMs,
} from './schedule.js';

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

describe.each(['stopped', 'hibernated', 'suspended'] as const)('%s', (state) => {
  test('one more at its next instant, then one a week', () => {
    const since = plus(first, 60_000);
    const unsavedSince = unsavedAfterChange(first, { state, since });
    const due = nextBackupAt(instance({ state, begunAt: first, unsavedSince }));
    expect(due).toEqual(plus(first, business.everyMs));
    expect(unsavedAfterBackup(unsavedSince, due!, { state, since })).toBeUndefined();
    const next = nextBackupAt(instance({ state, begunAt: due, unsavedSince: undefined }))!;
    expect(next).toEqual(instantAfter(instanceId, weekMs, due!));
  });

  test('nothing is unsaved that was backed up after it came to rest, for as long as it rests', () => {
    const resting = { state, since: at('02T10:00:00') };
    expect(unsavedAfterBackup(at('01T00:00:00'), at('02T10:00:00'), resting)).toBeUndefined();
    expect(unsavedAfterBackup(at('01T00:00:00'), at('02T09:59:59'), resting)).toEqual(at('02T09:59:59'));
    expect(unsavedAfterChange(undefined, resting)).toBeUndefined();
  });

  test('one that wakes after a long time is not due at once: nothing is unsaved but what comes now', () => {
    const since = at('20T08:00:00');
    const unsavedSince = unsavedAfterChange(undefined, { state: 'running', since });
    expect(unsavedSince).toEqual(since);
    expect(nextBackupAt(instance({ begunAt: at('12T00:00:00'), unsavedSince }))).toEqual(
      instantAfter(instanceId, business.everyMs, since),
    );
  });
});

test('one that wakes and sleeps more often than it is backed up is backed up all the same', () => {
  let unsavedSince: Date | undefined;
  const since = at('05T00:00:00');
  for (let number = 0; number < 200; number += 1)
    unsavedSince = unsavedAfterChange(unsavedSince, {
      state: number % 2 ? 'hibernated' : 'running',
      since: plus(since, number * 600_000),
    });
  expect(unsavedSince).toEqual(since);
  expect(nextBackupAt(instance({ unsavedSince, state: 'hibernated' }))).toEqual(
    instantAfter(instanceId, business.everyMs, since),
  );
});

test('what somebody did while it stood still is unsaved', () => {
  const maintenance = { state: 'maintenance', since: at('05T00:00:00') } as const;
  expect(unsavedAfterChange(undefined, maintenance)).toEqual(maintenance.since);
});

test('a backup that turns out to be bad has saved nothing', () => {
  expect(unsavedAfterLoss(at('05T00:00:00'), at('04T00:00:00'))).toEqual(at('04T00:00:00'));
  expect(unsavedAfterLoss(undefined, at('04T00:00:00'))).toEqual(at('04T00:00:00'));
  expect(unsavedAfterLoss(at('03T00:00:00'), at('04T00:00:00'))).toEqual(at('03T00:00:00'));
});

test('how much would be lost now', () => {
  expect(unsavedMs(at('05T00:00:00'), at('05T00:01:00'))).toBe(60_000);
  expect(unsavedMs(undefined, at('05T00:01:00'))).toBe(0);
  expect(unsavedMs(at('05T00:01:00'), at('05T00:00:00'))).toBe(0);
});

describe('how deep a proof goes', () => {
  const proof = (why: Parameters<typeof proofDepth>[0]['why'], takenAt: Date, fullAt?: Date) =>
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
