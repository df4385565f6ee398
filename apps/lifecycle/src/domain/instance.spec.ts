import { expect, test } from '@jest/globals';
import { atHost, hasHost, isNamed, type Live, withoutFormerHost } from './instance.js';

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

test.each([
  ['a', true],
  ['b', false],
  ['a.example', false],
  ['', false],
])('a.example.com is called %j: %s', (slug, is) => expect(isNamed('a.example.com', slug)).toBe(is));
