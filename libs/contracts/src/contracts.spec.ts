import { readdirSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { Envelope, InstanceRequested, ownersOf, registry, services, topicWritePattern } from './index.js';

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

test('every contract that is written down is in the registry', async () => {
  const files = readdirSync(import.meta.dirname).filter((file) => /-(requests|facts|messages)\.ts$/.test(file));
  const written = await Promise.all(files.map(async (file) => Object.values(await import(`./${file}`))));
  expect(written.length).toBeGreaterThan(3);
  const contracts = written.flat().filter((one) => typeof one === 'object' && one !== null && 'kind' in one);
  expect(new Set(contracts)).toEqual(new Set(registry));
});

const envelope = { specversion: '1.0', id: '7', source: 'signup', type: 'mesh.instance.requested.v1', data: {} };

test('an attribute that is null was left out', () => {
  const unset = { time: null, datacontenttype: null, subject: null, sequence: null, correlationid: null };
  expect(Envelope.parse({ ...envelope, ...unset })).toMatchObject({ id: '7', time: undefined, subject: undefined });
});

test.each(['application/json', 'application/json; charset=utf-8', 'application/vnd.shop+json'])(
  'data may call itself %s',
  (datacontenttype) => expect(Envelope.safeParse({ ...envelope, datacontenttype }).success).toBe(true),
);

test('data that is not JSON does not fit', () => {
  expect(Envelope.safeParse({ ...envelope, datacontenttype: 'text/xml' }).success).toBe(false);
});

test.each([7, null, 'nonsense'])('a traceparent that is %p is no reason to refuse a message', (traceparent) => {
  expect(Envelope.safeParse({ ...envelope, traceparent }).success).toBe(true);
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
  ['half a character in the company', { company: 'a\ud800b' }],
  ['a login with a line break', { adminLogin: 'a\nb' }],
  ['a company with a line separator', { company: 'a\u2028b' }],
  ['a plain password', { adminPasswordHash: 'secret' }],
  ['a hash of another kind', { adminPasswordHash: '$2b$12$abcdefghijklmnopqrstuv' }],
  ['a country that is none', { country: 'Zimbabwe' }],
  ['an empty company', { company: '' }],
])('a request with %s does not fit', (_, change) => {
  expect(InstanceRequested.data.safeParse({ ...least, ...change }).success).toBe(false);
});

test.each(['slug', 'plan', 'odooVersion', 'bundle', 'language'])(
  'whether a %s exists is for the planner to say',
  (field) => {
    for (const value of ['', 'Not_One', "x'; --", 'ü'])
      expect(InstanceRequested.data.safeParse({ ...least, [field]: value }).success).toBe(true);
  },
);

test('an id is the same in capitals', () => {
  const { instanceId } = InstanceRequested.data.parse({ ...least, instanceId: least.instanceId.toUpperCase() });
  expect(instanceId).toBe(least.instanceId);
});

test.each(["Robert'); DROP TABLE students;--", '{{7*7}} $(reboot) `id` %s', '株式会社', '🦊 & Co', '<b>&amp;'])(
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

test('facts are asked for from those who are there to say them again', () => {
  expect(new Set(ownersOf('instance'))).toEqual(new Set(['capacity-planner', 'provisioner', 'lifecycle', 'backup']));
  expect(ownersOf('backup')).toEqual(['backup']);
  expect(ownersOf('node')).toEqual([]);
});

const byKey = new Map(registry.map((one) => [one.key, one]));

test.each(
  registry.flatMap((one) =>
    one.kind === 'request' ? (one.answeredBy ?? []).map((key) => [one.key, key, one] as const) : [],
  ),
)('%s is answered by its owner with %s', (_, key, request) => {
  expect(byKey.get(key)).toMatchObject({ kind: 'fact', publisher: request.owner });
});

test.each(
  registry.flatMap((one) =>
    one.kind === 'fact' ? (one.replaces ?? []).map((key) => [one.key, key, one] as const) : [],
  ),
)('%s replaces %s, of the same publisher about the same subject', (_, key, fact) => {
  expect(byKey.get(key)).toMatchObject({ kind: 'fact', publisher: fact.publisher, subject: fact.subject });
});
