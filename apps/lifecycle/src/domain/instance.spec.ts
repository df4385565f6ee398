import { expect, test } from '@jest/globals';
import { atHost, hasHost, hostsOf, isNamed, type Live, withCustomDomains, withoutFormerHost } from './instance.js';

const live = { host: 'a.example.com' } as Live;
const [monday, tuesday, friday] = ['2026-11-23', '2026-11-24', '2026-11-27'].map((day) => `${day}T00:00:00.000Z`);

test('who is renamed has its former names, each until its day', () => {
  const twice = atHost(atHost(live, 'b.example.com', monday!), 'c.example.com', tuesday!);
  expect(twice).toEqual({
    host: 'c.example.com',
    formerHosts: [
      { host: 'a.example.com', until: monday },
      { host: 'b.example.com', until: tuesday },
    ],
  });
  for (const host of ['a', 'b', 'c']) expect(hasHost(twice, `${host}.example.com`)).toBe(true);
  expect(hasHost(twice, 'd.example.com')).toBe(false);
  expect(withoutFormerHost(twice, 'a.example.com').formerHosts).toEqual([{ host: 'b.example.com', until: tuesday }]);
});

test('who is called by a former name again has it as a former one no more', () => {
  const back = atHost(atHost(live, 'b.example.com', monday!), 'a.example.com', friday!);
  expect(back).toEqual({ host: 'a.example.com', formerHosts: [{ host: 'b.example.com', until: friday }] });
});

test('domains of its customer are those that are wanted, each as it was reserved', () => {
  const two = withCustomDomains(live, ['erp.acme.example', 'shop.acme.example'], 'r1');
  expect(hostsOf(two)).toEqual(['a.example.com', 'erp.acme.example', 'shop.acme.example']);
  const others = withCustomDomains(two, ['new.acme.example', 'shop.acme.example'], 'r2');
  expect(others.customDomains).toEqual([
    { host: 'new.acme.example', reservation: 'r2' },
    { host: 'shop.acme.example', reservation: 'r1' },
  ]);
  expect([hasHost(others, 'shop.acme.example'), hasHost(others, 'erp.acme.example')]).toEqual([true, false]);
  expect(hostsOf(withCustomDomains(others, [], 'r3'))).toEqual(['a.example.com']);
});

test.each([
  ['a', true],
  ['b', false],
  ['a.example', false],
  ['', false],
])('a.example.com is called %j: %s', (slug, is) => expect(isNamed('a.example.com', slug)).toBe(is));
