import { expect, it } from '@jest/globals';
import { readResult, resultText } from './files-result.js';

it.each([
  { files: 3, bytes: 5_000_000_000, carried: 0 },
  { code: 'CORRUPTED', message: 'files/da/da39 is …' },
])('%j is read as it was written', (result) => expect(readResult(resultText(result))).toEqual(result));

it('a long message is cut, and what Kubernetes keeps of it can be read', () => {
  const text = resultText({ code: 'FILE_DAMAGED', message: '\u0001é"'.repeat(10_000) });
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(4_096);
  expect(readResult(text)).toMatchObject({ code: 'FILE_DAMAGED' });
});

it.each([undefined, '', 'Killed', 'null', '[]', '{"files":1}', '{"files":-1,"bytes":0,"carried":0}'])(
  '%j is no result',
  (text) => expect(readResult(text)).toBeUndefined(),
);
