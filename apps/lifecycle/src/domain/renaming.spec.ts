import { expect, test } from '@jest/globals';
import { enter } from './entering.js';
import type { Instance, Live } from './instance.js';
import { withoutWhatFailed } from './moving.js';
import { type Input, isSo, namesToReserve, type Operation, refusalOf, wantsHost } from './operation.js';

const now = new Date('2026-11-23T10:00:00.000Z');
const held = (...hosts: string[]) => hosts.map((host) => ({ host, reservation: 'r1' }));
const live = {
  host: 'acme.mesh.example',
  customDomains: held('erp.acme.example', 'shop.acme.example'),
} as unknown as Live;
const instance = { state: 'running', live } as Instance;
const rename = (input: Input, progress: Operation['progress'] = {}) =>
  ({ kind: 'rename', input, progress, stage: 1, spentMs: 0, seenAt: null }) as unknown as Operation;

test.each<[string, Input, boolean]>([
  ['the slug that it has', { slug: 'acme' }, true],
  ['another slug', { slug: 'acme-2' }, false],
  ['its domains, in another order', { customDomains: ['shop.acme.example', 'erp.acme.example'] }, true],
  ['one of its domains', { customDomains: ['erp.acme.example'] }, false],
  ['another domain', { customDomains: ['erp.acme.example', 'new.acme.example'] }, false],
  ['no domains', { customDomains: [] }, false],
  ['its slug and no domains', { slug: 'acme', customDomains: [] }, false],
  ['nothing', {}, false],
])('who asks for %s asks for what is so: %s', (_, input, is) => expect(isSo(instance, rename(input))).toBe(is));

test.each<[string, Input, string | undefined]>([
  ['a slug', { slug: 'acme-2' }, undefined],
  ['no domain any more', { customDomains: [] }, undefined],
  ['domains', { customDomains: ['new.acme.example'] }, undefined],
  ['nothing', {}, 'NOTHING_ASKED'],
  ['a wildcard', { slug: 'acme-2', customDomains: ['*.acme.example'] }, 'domain-not-a-name'],
  ['the mesh’s own domain', { customDomains: ['mesh.example'] }, 'domain-of-the-mesh'],
  ['one domain twice', { customDomains: ['a.example', 'a.example'] }, 'domain-twice'],
])('a rename that asks for %s is judged before it begins', (_, input, code) => {
  expect(refusalOf(instance, rename(input), now)?.code).toBe(code);
});

test.each<[Input, object | undefined]>([
  [{ slug: 'acme-2' }, { slug: 'acme-2' }],
  [{ slug: 'acme' }, undefined],
  [{ customDomains: ['erp.acme.example'] }, undefined],
  [{ customDomains: [] }, undefined],
  [{ customDomains: ['erp.acme.example', 'new.acme.example'] }, { customDomains: ['new.acme.example'] }],
  [
    { slug: 'acme-2', customDomains: ['new.acme.example'] },
    { slug: 'acme-2', customDomains: ['new.acme.example'] },
  ],
])('of %j the planner is asked for what it does not hold', (input, names) => {
  expect(namesToReserve(live, input)).toEqual(names);
});

test('what it wants to be found at is known by slug and by domain', () => {
  const input = { slug: 'acme-2', customDomains: ['new.acme.example'] };
  const wanted = ['acme-2.mesh.example', 'new.acme.example', 'acme.mesh.example', 'new.other.example'];
  expect(wanted.map((host) => wantsHost(input, host))).toEqual([true, true, false, false]);
});

test('its domains are its own from the second stage on, its host stays, and one that fails has those that it had', () => {
  const input = { customDomains: ['new.acme.example', 'shop.acme.example'] };
  const settings = { database: 'd', formerHostMs: 0 };
  const [begun, operation] = enter(instance, rename(input, { reservation: 'r2' }), now, settings);
  expect(begun.live).toEqual({
    host: 'acme.mesh.example',
    customDomains: [{ host: 'new.acme.example', reservation: 'r2' }, ...held('shop.acme.example')],
  });
  const failure = { code: 'NOT_READY_IN_TIME', fault: 'platform', message: '' } as const;
  const back = { ...operation, stage: 0, progress: { ...operation.progress, failure } };
  expect(enter(begun, back, now, settings)[0].live).toEqual(live);
  expect(withoutWhatFailed(begun, back).live).toEqual(live);
});
