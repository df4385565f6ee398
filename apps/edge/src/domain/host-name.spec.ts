import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { hostNameOf } from './host-name.js';

it.each([
  ['acme.example.com', 'acme.example.com'],
  ['ACME.Example.com', 'acme.example.com'],
  ['acme.example.com:8443', 'acme.example.com'],
  ['acme.example.com.', 'acme.example.com'],
  ['acme.example.com.:80', 'acme.example.com'],
  ['acme.localhost:', 'acme.localhost'],
  ['10.0.0.1:80', '10.0.0.1'],
])('%j is %s', (header, name) => expect(hostNameOf(header)).toBe(name));

it.each([undefined, '', ':80', '.', 'a..b', '-a.b', 'a_b', 'a b', '[::1]:80', "a'b", '<b>', `${'a.'.repeat(127)}a`])(
  '%j is no name',
  (header) => expect(hostNameOf(header)).toBeUndefined(),
);

it('whatever comes, it is a name or none', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.domain()), (header) => {
      expect(hostNameOf(header) ?? 'none').toMatch(/^[a-z0-9.-]+$/);
    }),
  );
});
