import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { faultOfCustomDomains } from './custom-domain.js';
import { routesOf } from './traefik.js';

const mesh = 'mesh.example.com';
const label = 'a'.repeat(63);

it.each([
  ['shop.acme.example'],
  ['acme.example'],
  ['xn--bcher-kva.example'],
  ['1-2-3.4.example'],
  ['example.com'],
  ['notmesh.example.com'],
  ['mesh.example.com.acme.example'],
  [`${label}.${label}.${label}.example`],
])('%s may be a domain of a customer’s', (domain) => expect(faultOfCustomDomains([domain], mesh)).toBeUndefined());

it.each([
  ['', 'acme', 'localhost', 'acme.example.', '.acme.example', 'acme..example', 'Acme.example', 'bücher.example'],
  [
    '*.acme.example',
    '-a.example',
    'a-.example',
    'a_b.example',
    'a b.example',
    'acme.example:80',
    'https://acme.example',
  ],
  ['10.0.0.1', '1.2.3.0x4', '1.2.3.0x', 'acme.1', '[::1]', '::1', 'a`) || Host(`b.example', 'acme.example\n'],
  [`a${label}.example`, `${label}.${label}.${label}.${label}.example`],
])('%j and its like are no domains', (...domains) => {
  for (const domain of domains)
    expect(faultOfCustomDomains([domain], mesh)).toMatchObject({ code: 'domain-not-a-name' });
});

it.each([mesh, `acme.${mesh}`, `a.b.${mesh}`])('%s is the mesh’s own', (domain) => {
  expect(faultOfCustomDomains(['acme.example', domain], mesh)).toMatchObject({ code: 'domain-of-the-mesh' });
});

it('each is named once', () => {
  const twice = ['acme.example', 'shop.acme.example', 'acme.example'];
  expect(faultOfCustomDomains(twice, mesh)).toEqual({
    code: 'domain-twice',
    message: '"acme.example" is named twice: name each domain once',
  });
});

it('what may be one can stand in a route', () => {
  fc.assert(
    fc.property(fc.oneof(fc.domain(), fc.string({ unit: 'binary' })), (domain) => {
      fc.pre(faultOfCustomDomains([domain], mesh) === undefined);
      expect(() => routesOf(domain, 'o', { scheme: 'http', rpc: true })).not.toThrow();
    }),
  );
});
