import { expect, test } from '@jest/globals';
import { decide, mostWaiting, overtakerOf, verdictOf } from './arbitration.js';
import { type Input, type OperationKind, operationKinds } from './operation.js';

let ids = 0;
const one = (kind: OperationKind, input: Input = {}) => ({ operationId: `op-${++ids}`, kind, input });

test('where nothing is under way a request begins', () => {
  for (const kind of operationKinds) expect(decide(one(kind), undefined, [])).toEqual({ verdict: 'begins' });
});

/** Rows: what comes; columns: what is under way; `.` waits, `!` overtakes, `x` is refused. */
const picture = `
                      start stop restart suspend resume resize upgrade rename quiesce release switch-back terminate cancel held
  start               .     .    .       .       .      .      .       .      .       .       .           .         .      .
  stop                !     .    !       .       .      .      .       .      .       .       .           .         .      .
  restart             .     .    .       .       .      .      .       .      .       .       .           .         .      .
  suspend             !     .    !       .       !      .      .       .      .       .       .           .         .      .
  resume              .     .    .       .       .      .      .       .      .       .       .           .         .      .
  resize              .     .    .       .       .      .      .       .      .       .       .           .         .      .
  upgrade             .     .    .       .       .      .      .       .      .       .       .           .         .      .
  rename              .     .    .       .       .      .      .       .      .       .       .           .         .      .
  quiesce             .     .    .       .       .      .      .       .      .       .       .           .         .      x
  release             .     .    .       .       .      .      .       .      .       .       .           .         .      !
  switch-back         .     .    .       .       .      .      .       .      .       .       .           .         .      .
  terminate           !     !    !       !       !      !      .       .      !       !       .           .         !      !
  cancel-termination  .     .    .       .       .      .      .       .      .       .       .           !         .      .
`;
const [head, ...rows] = picture
  .trim()
  .split('\n')
  .map((line) => line.trim().split(/\s+/));
const marks = { '.': 'waits', '!': 'overtakes', x: 'refused' } as const;

test.each(
  rows.flatMap(([incoming, ...cells]) =>
    cells.map(
      (mark, at) => [incoming!, head![at]!.replace('cancel', 'cancel-termination'), marks[mark as '.']] as const,
    ),
  ),
)('%s while there is %s: %s', (incoming, underWay, verdict) => {
  expect(verdictOf(incoming as OperationKind, underWay as OperationKind)).toBe(verdict);
});

test('the picture has a row for each operation', () => {
  expect(rows.map(([name]) => name)).toEqual([...operationKinds]);
});

test('what wants the same as the last before it merges, and only then', () => {
  const stop = one('stop');
  expect(decide(one('stop'), stop, [])).toEqual({ verdict: 'merges', into: stop.operationId });
  const start = one('start');
  expect(decide(one('stop'), stop, [start])).toEqual({ verdict: 'waits' });
  expect(decide(one('start'), stop, [start])).toEqual({ verdict: 'merges', into: start.operationId });
  const resize = one('resize', { plan: 'business' });
  expect(decide(one('resize', { plan: 'enterprise' }), resize, [])).toEqual({ verdict: 'waits' });
  const rename = one('rename', { slug: 'acme' });
  expect(decide(one('rename', { slug: 'acme' }), rename, [])).toEqual({ verdict: 'merges', into: rename.operationId });
  expect(decide(one('rename', { slug: 'acme-2' }), rename, [])).toEqual({ verdict: 'waits' });
  for (const customDomains of [[], ['acme.example']])
    expect(decide(one('rename', { slug: 'acme', customDomains }), rename, [])).toEqual({ verdict: 'waits' });
  const suspend = one('suspend', { why: 'unpaid' });
  expect(decide(one('suspend', { why: 'abuse' }), suspend, [])).toEqual({ verdict: 'waits' });
});

test('what would be overtaken as soon as it began gives way before', () => {
  const [quiesce, stop] = [one('quiesce'), one('stop')];
  expect(overtakerOf('start', [quiesce, stop])).toBe(stop);
  expect(overtakerOf('stop', [quiesce, one('start')])).toBeUndefined();
  const terminate = one('terminate');
  expect(overtakerOf('quiesce', [stop, terminate])).toBe(terminate);
});

test('nobody stops between two footprints: a release that switches is not overtaken', () => {
  const switching = one('release', { token: 't', footprintId: 'f' });
  expect(decide(one('terminate'), switching, [])).toEqual({ verdict: 'waits' });
  expect(decide(one('terminate'), one('release', { token: 't' }), [])).toMatchObject({ verdict: 'overtakes' });
  const back = one('switch-back', { footprintId: 'f' });
  expect(decide(one('switch-back', { footprintId: 'f' }), back, [])).toEqual({
    verdict: 'merges',
    into: back.operationId,
  });
  expect(decide(one('switch-back', { footprintId: 'g' }), back, [])).toEqual({ verdict: 'waits' });
});

test('no two ever share a token', () => {
  const quiesce = one('quiesce', { purpose: 'restore', deadline: '2026-11-23T10:05:00.000Z' });
  expect(decide({ ...quiesce }, quiesce, [])).toEqual({ verdict: 'waits' });
});

test('an instance does not become a queue', () => {
  const waiting = Array.from({ length: mostWaiting }, (_, at) => one(at % 2 ? 'start' : 'stop'));
  expect(decide(one('restart'), one('resize'), waiting)).toMatchObject({ verdict: 'refused', code: 'TOO_MANY_WAIT' });
  expect(decide(one('terminate'), one('resize'), waiting)).toMatchObject({ verdict: 'overtakes' });
});
