import { expect, it } from '@jest/globals';
import { contentKey, indexLine, isStoredName, readIndexLine, sha1Of } from './stored-file.js';

const sha1 = 'da39a3ee5e6b4b0d3255bfef95601890afd80709';

it.each([
  [`da/${sha1}`, true],
  [`da3/${sha1}`, true],
  [`db/${sha1}`, false],
  [`checklist/da/${sha1}`, false],
  [`da/.${sha1}.17`, false],
  [`da/${sha1}x`, false],
  [`da/${sha1.toUpperCase()}`, false],
  [`../${sha1}`, false],
  [sha1, false],
])('%s is an attachment: %s', (name, is) => expect(isStoredName(name)).toBe(is));

it('the same content has the same key, whatever the folder', () => {
  expect(sha1Of(`da3/${sha1}`)).toBe(sha1);
  expect(contentKey('m/c/i/files/', `da3/${sha1}`)).toBe(`m/c/i/files/da/${sha1}`);
  expect(contentKey('m/c/i/files/', `da/${sha1}`)).toBe(`m/c/i/files/da/${sha1}`);
});

it('a line of an index is read as it was written', () => {
  const file = { name: `da/${sha1}`, bytes: 0 };
  expect(indexLine(file)).toBe(`{"name":"da/${sha1}","bytes":0}\n`);
  expect(readIndexLine(indexLine(file))).toEqual(file);
});

it.each([
  'not JSON',
  'null',
  '{}',
  `{"name":"da/${sha1}"}`,
  `{"name":"da/${sha1}","bytes":-1}`,
  `{"name":"da/../../../etc/passwd","bytes":1}`,
])('%s is no line of an index', (line) => expect(() => readIndexLine(line)).toThrow(/not a line/));
