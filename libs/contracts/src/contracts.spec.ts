import { expect, test } from '@jest/globals';
import { example } from './example.js';
import { Envelope, InstanceRequested, registry, services, topicWritePattern } from './index.js';

test.each(registry.map((one) => [one.key, one] as const))('%s is named as the mesh names messages', (key, contract) => {
  expect(key).toMatch(/^[a-z]+(\.[a-z]+(-[a-z]+)*)\.v[1-9]$/);
  expect(contract.type).toBe(`mesh.${key}`);
  expect(contract.why).toMatch(/^[A-Z][^.]*\.$/);
  expect([...services, 'every-owner']).toContain(contract.kind === 'fact' ? contract.publisher : contract.owner);
  const last = key.split('.').at(-2)!;
  expect(/requested$/.test(last)).toBe(contract.kind === 'request');
});

test('keys are unique', () => {
  expect(new Set(registry.map((one) => one.key)).size).toBe(registry.length);
});

test.each(registry.map((one) => [one.key, one] as const))('the example of %s is one', (_, contract) => {
  const message = example(contract);
  expect(Envelope.safeParse(message).error).toBeUndefined();
  expect(contract.data.safeParse(message.data).error).toBeUndefined();
});

const least = {
  instanceId: '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11',
  slug: 'acme',
  customerId: 'c-1042',
  plan: 'business',
  odooVersion: '18.0',
  company: 'ACME Ltd',
  adminLogin: 'owner@acme.example',
};

test('a request may leave out what has a default, and fields of later versions do no harm', () => {
  expect(InstanceRequested.data.parse({ ...least, fromTheFuture: 1 })).toEqual({
    ...least,
    bundle: 'apps',
    language: 'en_US',
  });
});

test.each([
  ['no instance id', { instanceId: undefined }],
  ['an id that is no UUID', { instanceId: '7' }],
  ['a company with a NUL', { company: 'a\0b' }],
  ['a login with a line break', { adminLogin: 'a\nb' }],
  ['a company with a line separator', { company: 'a\u2028b' }],
  ['a plain password', { adminPasswordHash: 'secret' }],
  ['a hash of another kind', { adminPasswordHash: '$2b$12$abcdefghijklmnopqrstuv' }],
  ['a country that is none', { country: 'Zimbabwe' }],
  ['an empty company', { company: '' }],
])('a request with %s does not fit', (_, change) => {
  expect(InstanceRequested.data.safeParse({ ...least, ...change }).success).toBe(false);
});

test.each(["Robert'); DROP TABLE students;--", '{{7*7}} $(reboot) `id` %s', '株式会社', '<b>&amp;'])(
  'the company may be called %s',
  (company) => {
    expect(InstanceRequested.data.safeParse({ ...least, company }).success).toBe(true);
  },
);

test('a service may say its own facts and the requests it sends, and nothing else', () => {
  const planner = new RegExp(topicWritePattern('capacity-planner'));
  expect(planner.test('instance.placed.v1')).toBe(true);
  expect(planner.test('instance.ready.v1')).toBe(false);
  expect(planner.test('instance.placed.v1.more')).toBe(false);
  expect(new RegExp(topicWritePattern('api-gateway')).test('instance.requested.v1')).toBe(true);
  expect(new RegExp(topicWritePattern('billing-bridge')).test('instance.ready.v1')).toBe(false);
});
