import { expect, test } from '@jest/globals';
import { audit, type Ledger, nothingAmiss } from './ledger.js';

const entry = (id: string, subject: string, version: number) => ({ id, subject, version });
const [a1, a2, b1] = [entry('a1', 'a', 1), entry('a2', 'a', 2), entry('b1', 'b', 1)];

const clean: Ledger = {
  attempted: [a1, a2, b1].map(({ id }) => ({ id, succeeded: true })),
  committed: [a1, a2, b1],
  confirmed: ['a1', 'a2', 'b1'],
  handled: ['a1', 'a2', 'b1'],
  effects: [a1, b1, a2],
  overtaking: true,
};

test.each<[string, Partial<Ledger>, object]>([
  ['nothing, when each was done once and in order', {}, {}],
  ['what was passed over because a later one had been done, as nothing', { effects: [b1, a2] }, {}],
  ['the same as lost where every single one counts', { effects: [b1, a2], overtaking: false }, { lost: ['a1'] }],
  ['as lost what was confirmed and not handled', { handled: ['a1', 'a2'], effects: [a1, a2] }, { lost: ['b1'] }],
  ['as lost what was handled without effect', { effects: [a1, a2] }, { lost: ['b1'] }],
  ['as lost the newest that was passed over', { effects: [a1, b1] }, { lost: ['a2'] }],
  ['as lost what was overtaken by note only', { handled: ['a2', 'b1'], effects: [b1, a2] }, { lost: ['a1'] }],
  [
    'as lost what the database forgot after it had said yes',
    { committed: [a1, a2], confirmed: ['a1', 'a2'], handled: ['a1', 'a2'], effects: [a1, a2] },
    { lost: ['b1'] },
  ],
  [
    'what failed and was rolled back, as nothing',
    {
      attempted: [{ id: 'b1', succeeded: false }],
      committed: [a1, a2],
      confirmed: ['a1', 'a2'],
      handled: ['a1', 'a2'],
      effects: [a1, a2],
    },
    {},
  ],
  ['what failed and was committed all the same, as said', { attempted: [{ id: 'b1', succeeded: false }] }, {}],
  [
    'as stuck what is still in the outbox',
    { confirmed: ['a1', 'a2'], handled: ['a1', 'a2'], effects: [a1, a2] },
    { stuck: ['b1'] },
  ],
  ['as doubled what was done twice', { effects: [a1, b1, b1, b1, a2] }, { doubled: ['b1'] }],
  ['as out of order what was done after a later one', { effects: [a2, a1, b1] }, { outOfOrder: ['a1'] }],
  ['no order where none is promised', { effects: [a2, a1, b1], overtaking: false }, {}],
  [
    'as a ghost what was done and never said',
    { attempted: [], committed: [a1, a2], confirmed: ['a1', 'a2'] },
    { ghosts: ['b1'] },
  ],
])('the ledger shows %s', (_, change, amiss) =>
  expect(audit({ ...clean, ...change })).toEqual({ ...nothingAmiss, ...amiss }),
);
