import { describe, expect, it, test } from '@jest/globals';
import fc from 'fast-check';
import { type BackupPolicy, dayMs, hourMs, policyOf, spans } from './policy.js';
import { type Complete, expiring } from './retention.js';

const start = Date.UTC(2026, 0, 1);
const policy: BackupPolicy = { ...policyOf('business'), lockedMs: 0 };

let ids = 0;
const backup = (takenAt: number, change: Partial<Complete> = {}): Complete => ({
  backupId: `b${++ids}`,
  why: 'scheduled',
  takenAt: new Date(takenAt),
  held: false,
  inUse: false,
  ...change,
});
const idsOf = (list: readonly { readonly backupId: string }[]) => list.map(({ backupId }) => backupId).sort();
const left = (backups: readonly Complete[], now: Date, with_: BackupPolicy = policy, endedAt?: Date) => {
  const gone = new Set(idsOf(expiring(with_, backups, now, endedAt)));
  return backups.filter(({ backupId }) => !gone.has(backupId));
};

describe('a year of backups, one each six hours', () => {
  const year = Array.from({ length: 4 * 365 }, (_, number) => backup(start + number * 6 * hourMs));
  const now = new Date(start + 365 * dayMs);

  it('leaves the newest of each hour, day, week and month', () => {
    const kept = left(year, now).map(({ takenAt }) => takenAt.toISOString());
    expect(kept.slice(-8)).toEqual(year.slice(-8).map(({ takenAt }) => takenAt.toISOString()));
    expect(kept.slice(0, 3)).toEqual([
      '2026-01-31T18:00:00.000Z',
      '2026-02-28T18:00:00.000Z',
      '2026-03-31T18:00:00.000Z',
    ]);
    // Sundays.
    expect(kept).toEqual(expect.arrayContaining(['2026-12-27T18:00:00.000Z', '2026-11-15T18:00:00.000Z']));
  });

  it.each([
    ['hourly', '2026-12-31T06:00:00.000Z'],
    ['daily', '2026-12-29T18:00:00.000Z'],
    ['weekly', '2026-12-20T18:00:00.000Z'],
    ['monthly', '2026-10-31T18:00:00.000Z'],
  ] as const)('leaves three where %s 3 is all that is kept', (span, oldest) => {
    const three = { ...policy, keep: { hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, [span]: 3 } };
    const kept = left(year, now, three);
    expect(kept.length).toBe(3);
    expect(kept[0]!.takenAt.toISOString()).toBe(oldest);
  });

  it('leaves the same when it was done after each of them', () => {
    let some: Complete[] = [];
    for (const one of year) some = left([...some, one], one.takenAt);
    expect(idsOf(left(some, now))).toEqual(idsOf(left(year, now)));
  });
});

test('of a week or more rather the one that was fully verified stays, of a day the newest', () => {
  const monday = Date.UTC(2026, 10, 2);
  const verified = backup(monday, { proof: 'full' });
  const newer = Array.from({ length: 20 }, (_, number) => backup(monday + (number + 1) * 6 * hourMs));
  const after = Array.from({ length: 30 }, (_, number) => backup(monday + (8 + number) * dayMs, { proof: 'full' }));
  const kept = left([verified, ...newer, ...after], new Date(monday + 60 * dayMs));
  expect(kept).toContain(verified);
  expect(kept).not.toContain(newer.at(-1));
  expect(
    left([verified, newer[0]!], new Date(monday + dayMs), { ...policy, keep: { ...policy.keep, hourly: 0 } }),
  ).toContain(newer[0]);
});

test('a bad one is nobody’s grandfather', () => {
  const bad = backup(start + 20 * hourMs, { proof: 'bad' });
  const good = backup(start + 14 * hourMs);
  const newer = backup(start + 40 * dayMs);
  expect(idsOf(expiring(policy, [bad, good, newer], newer.takenAt, undefined))).toEqual([bad.backupId]);
});

test('if all are bad, the newest is there for whoever can mend it', () => {
  const all = [1, 2, 3].map((day) => backup(start + day * dayMs, { proof: 'bad' }));
  expect(left(all, new Date(start + 100 * dayMs))).toEqual([all[2]]);
});

test('what was asked for stays its time, however many newer ones there are', () => {
  const manual = backup(start, { why: 'manual' });
  const newer = Array.from({ length: 400 }, (_, number) => backup(start + (number + 1) * hourMs));
  const few = { ...policy, keep: { ...policy.keep, weekly: 0, monthly: 0, daily: 1 } };
  expect(left([manual, ...newer], new Date(start + 30 * dayMs - 1), few)).toContain(manual);
  expect(left([manual, ...newer], new Date(start + 30 * dayMs), few)).not.toContain(manual);
});

describe('of an instance that was destroyed', () => {
  const endedAt = new Date(start + 10 * dayMs);
  const all = [
    backup(start),
    backup(start + dayMs, { proof: 'full', why: 'final' }),
    backup(start + 2 * dayMs, { held: true }),
    backup(start + 3 * dayMs, { inUse: true }),
    backup(start + 4 * dayMs, { lockedUntil: new Date(start + 400 * dayMs) }),
  ];

  it('all stay until its date', () => {
    expect(expiring(policy, all, new Date(endedAt.getTime() + 90 * dayMs - 1), endedAt)).toEqual([]);
  });

  it('then all go but those that are held, in use or locked', () => {
    expect(expiring(policy, all, new Date(endedAt.getTime() + 90 * dayMs), endedAt)).toEqual([
      { backupId: all[0]!.backupId, reason: 'INSTANCE_ENDED' },
      { backupId: all[1]!.backupId, reason: 'INSTANCE_ENDED' },
    ]);
  });
});

describe('whatever there is', () => {
  const anyPolicy = fc
    .record({
      keep: fc.record(
        Object.fromEntries(spans.map((span) => [span, fc.nat(6)])) as Record<
          keyof BackupPolicy['keep'],
          fc.Arbitrary<number>
        >,
      ),
      lockedMs: fc.nat(5 * dayMs),
    })
    .map((change): BackupPolicy => ({ ...policy, ...change }));
  const anyBackups = fc
    .array(
      fc.record({
        why: fc.constantFrom('scheduled' as const, 'scheduled' as const, 'manual' as const, 'safety' as const),
        // Coarse, so that several are of the same moment and span.
        takenAt: fc.nat(4_000).map((hours) => new Date(start + hours * hourMs)),
        proof: fc.constantFrom(undefined, undefined, 'light' as const, 'full' as const, 'bad' as const),
        held: fc.nat(5).map((one) => one === 0),
        inUse: fc.nat(9).map((one) => one === 0),
        lockedUntil: fc.option(
          fc.nat(6_000).map((hours) => new Date(start + hours * hourMs)),
          { nil: undefined, freq: 3 },
        ),
      }),
      { maxLength: 80 },
    )
    .map((list): Complete[] => list.map((one, number) => ({ ...one, backupId: `b${number}` })));
  const anyNow = fc.integer({ min: 0, max: 9_000 }).map((hours) => new Date(start + hours * hourMs));
  const holds = (check: (policy: BackupPolicy, backups: Complete[], now: Date) => void) =>
    fc.assert(fc.property(anyPolicy, anyBackups, anyNow, check), { numRuns: 500 });
  const newest = (backups: readonly Complete[], ...proofs: Complete['proof'][]) =>
    Math.max(...backups.filter(({ proof }) => proofs.includes(proof)).map(({ takenAt }) => takenAt.getTime()));

  it('the newest stays, the newest verified and the newest fully verified', () => {
    holds((any, backups, now) => {
      const kept = left(backups, now, any);
      expect(newest(kept, undefined, 'light', 'full', 'bad')).toBe(newest(backups, undefined, 'light', 'full', 'bad'));
      expect(newest(kept, undefined, 'light', 'full')).toBe(newest(backups, undefined, 'light', 'full'));
      expect(newest(kept, 'light', 'full')).toBe(newest(backups, 'light', 'full'));
      expect(newest(kept, 'full')).toBe(newest(backups, 'full'));
    });
  });

  it('what is held, in use or locked stays, of a destroyed instance too', () => {
    holds((any, backups, now) => {
      for (const endedAt of [undefined, new Date(start)]) {
        const kept = left(backups, now, any, endedAt);
        for (const one of backups)
          if (
            one.held ||
            one.inUse ||
            (one.lockedUntil && one.lockedUntil > now) ||
            one.takenAt.getTime() + any.lockedMs > now.getTime()
          )
            expect(kept).toContain(one);
      }
    });
  });

  it('what is left is left the next time', () => {
    holds((any, backups, now) => expect(expiring(any, left(backups, now, any), now, undefined)).toEqual([]));
  });

  it('the order in which they come says nothing', () => {
    holds((any, backups, now) =>
      expect(idsOf(expiring(any, [...backups].reverse(), now, undefined))).toEqual(
        idsOf(expiring(any, backups, now, undefined)),
      ),
    );
  });

  it('to hold one lets no other go', () => {
    holds((any, backups, now) => {
      const before = idsOf(expiring(any, backups, now, undefined));
      for (const held of backups) {
        const after = expiring(
          any,
          backups.map((one) => (one === held ? { ...one, held: true } : one)),
          now,
          undefined,
        );
        expect(idsOf(after)).toEqual(before.filter((id) => id !== held.backupId));
      }
    });
  });

  it('time alone lets nothing go that a span keeps', () => {
    holds((any, backups, now) => {
      const far = new Date(now.getTime() + 100 * 365 * dayMs);
      const kept = left(backups, far, any);
      expect(idsOf(left(kept, new Date(far.getTime() + 100 * 365 * dayMs), any))).toEqual(idsOf(kept));
    });
  });

  it('no more stay than the policy says and what may not go', () => {
    holds((any, backups, now) => {
      const free = backups.filter(
        (one) =>
          !one.held &&
          !one.inUse &&
          !(one.lockedUntil && one.lockedUntil > now) &&
          one.takenAt.getTime() +
            Math.max(
              any.lockedMs,
              { scheduled: 0, manual: 30, safety: 14, 'pre-upgrade': 30, final: 30 }[one.why] * dayMs,
            ) <=
            now.getTime(),
      );
      const most = spans.reduce((sum, span) => sum + any.keep[span], 4);
      const gone = expiring(any, backups, now, undefined).length;
      expect(free.length - gone).toBeLessThanOrEqual(most);
    });
  });
});
