import { expect, it } from '@jest/globals';
import { instanceStates } from '#contracts/index.js';
import { notice, noticeCodes, noticeOf } from './notice.js';

const site = (state: (typeof instanceStates)[number], reason: string | null = null) => ({
  host: 'acme.example.com',
  state,
  reason,
});

it.each([
  ['provisioning', null, 'starting', 503],
  ['running', null, 'starting', 503],
  ['stopped', 'requested', 'stopped', 503],
  ['hibernated', 'idle', 'hibernated', 503],
  ['suspended', 'unpaid', 'unpaid', 402],
  ['suspended', 'abuse', 'suspended', 503],
  ['suspended', 'operator', 'suspended', 503],
  ['stopped', 'unpaid', 'stopped', 503],
  ['maintenance', 'upgrade', 'maintenance', 503],
  ['failed', 'OutOfMemory', 'failed', 503],
  ['terminating', 'requested', 'ending', 503],
  ['purging', 'requested', 'unknown', 404],
  ['terminated', 'requested', 'unknown', 404],
] as const)('an instance that is %s, for the reason %s, is told as %s with %i', (state, reason, code, status) => {
  expect(noticeOf(site(state, reason))).toMatchObject({ code, status });
});

it('a host that nobody has is not found', () => {
  expect(noticeOf(undefined)).toMatchObject({ code: 'unknown', status: 404 });
});

it.each(instanceStates)(
  'whatever the reason, an instance that is %s tells no reason but an unpaid invoice',
  (state) => {
    expect(JSON.stringify(noticeOf(site(state, 'abuse')))).not.toContain('abuse');
  },
);

it.each(noticeCodes)('%s says what is so and what comes next, and who waits is told how long', (code) => {
  const { detail, next, retryAfter, title } = notice(code);
  for (const sentence of [detail, next]) expect(sentence).toMatch(/^[A-Z].*\.$/);
  expect(title).not.toMatch(/\.$/);
  expect(next === notice('starting').next).toBe(retryAfter !== undefined && code !== 'failed');
});
