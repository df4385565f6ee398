import { expect, it } from '@jest/globals';
import fc from 'fast-check';
import { newAddress } from './new-address.js';

it.each([
  ['old.example.com', '/', '//new.example.com/'],
  ['old.example.com:8443', '/web/login?debug=1&x=%2F', '//new.example.com:8443/web/login?debug=1&x=%2F'],
  ['old.example.com', '/a//b/../c?next=//evil.example/', '//new.example.com/a//b/../c?next=//evil.example/'],
  ['old.example.com', '//evil.example/x', '//new.example.com/evil.example/x'],
  ['old.example.com', '///evil.example', '//new.example.com/evil.example'],
  ['old.example.com', '/\\\\evil.example', '//new.example.com/evil.example'],
  ['old.example.com', '/%2fevil.example', '//new.example.com/%2fevil.example'],
  ['old.example.com', '/%2F%2Fevil.example', '//new.example.com/%2F%2Fevil.example'],
  ['old.example.com', '/%5cevil.example', '//new.example.com/%5cevil.example'],
  ['old.example.com', '/@evil.example', '//new.example.com/@evil.example'],
  ['old.example.com', 'http://evil.example/x', '//new.example.com/'],
  ['old.example.com', '*', '//new.example.com/'],
  ['old.example.com', 'evil.example:443', '//new.example.com/'],
  ['old.example.com', '/a\r\nSet-Cookie: b', '//new.example.com/'],
  ['old.example.com', undefined, '//new.example.com/'],
  ['old.example.com:@evil.example', '/', '//new.example.com/'],
  ['old.example.com:', '/', '//new.example.com/'],
  [undefined, '/', '//new.example.com/'],
])('%j asked for %j leads to %s', (asked, target, to) => {
  expect(newAddress('new.example.com', asked, target)).toBe(to);
});

it('whatever is asked, it leads to the new host', () => {
  const slashes = fc.stringMatching(/^[/\\]{0,3}(%2[fF]|%5[cC]|@|:|\.)?/);
  fc.assert(
    fc.property(fc.tuple(slashes, fc.webUrl(), fc.string({ unit: 'binary' })), ([begin, url, end]) => {
      for (const target of [`${begin}${url}${end}`, `${begin}${end}`, `/${end}`]) {
        const location = newAddress('new.example.com', 'old.example.com:8080', target);
        for (const scheme of ['http', 'https']) {
          const { protocol, host, username } = new URL(location, `${scheme}://old.example.com:8080/a/b`);
          expect([protocol, host, username]).toEqual([`${scheme}:`, 'new.example.com:8080', '']);
        }
        expect(location).toMatch(/^[\x21-\x7e]+$/);
      }
    }),
  );
});
