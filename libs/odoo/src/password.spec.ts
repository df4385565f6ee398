import { pbkdf2Sync } from 'node:crypto';
import { expect, it } from '@jest/globals';
import { hashPassword } from './password.js';

it('a password is hashed as passlib reads it: pbkdf2, sha512, 600,000 rounds, its own salt', async () => {
  const [hash, again] = await Promise.all([hashPassword('pässwörd'), hashPassword('pässwörd')]);
  const [, scheme, rounds, salt, sum] = hash.split('$');
  expect([scheme, rounds]).toEqual(['pbkdf2-sha512', '600000']);
  expect(hash).toMatch(/^\$pbkdf2-sha512\$600000\$[A-Za-z0-9./]{22}\$[A-Za-z0-9./]{86}$/);
  const expected = pbkdf2Sync('pässwörd', Buffer.from(salt!.replaceAll('.', '+'), 'base64'), 600_000, 64, 'sha512');
  expect(Buffer.from(sum!.replaceAll('.', '+'), 'base64')).toEqual(expected);
  expect(again).not.toBe(hash);
});
