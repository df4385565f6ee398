import { expect, it } from '@jest/globals';
import { readResult, resultText } from './files-result.js';

it.each([
  { files: 3, bytes: 5_000_000_000, carried: 0 },
  { code: 'CORRUPTED', message: 'files/da/da39 is …' },
  { code: 'CORRUPTED', message: 'm', damaged: ['da39a3ee5e6b4b0d3255bfef95601890afd80709'] },
])('%j is read as it was written', (result) => expect(readResult(resultText(result))).toEqual(result));

it('a long message is cut, and what Kubernetes keeps of it can be read', () => {
  const text = resultText({ code: 'FILE_DAMAGED', message: '\u0001é"'.repeat(10_000) });
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(4_096);
  expect(readResult(text)).toMatchObject({ code: 'FILE_DAMAGED' });
});

it('of many damaged contents some are told, beside a message that is cut', () => {
  const damaged = Array.from({ length: 1_000 }, (_, at) => at.toString(16).padStart(40, '0'));
  const text = resultText({ code: 'CORRUPTED', message: '\u0001é"'.repeat(10_000), damaged });
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(4_096);
  expect(readResult(text)).toEqual({
    code: 'CORRUPTED',
    message: expect.stringMatching(/./),
    damaged: damaged.slice(0, 40),
  });
});

it('what is no SHA-1 is not looked for as one', () => {
  const message = { code: 'CORRUPTED', message: 'm' };
  for (const damaged of ['x', [1], ['../../manifest.json'], [null]])
    expect(readResult(JSON.stringify({ ...message, damaged }))).toEqual(message);
});

it.each([undefined, '', 'Killed', 'null', '[]', '{"files":1}', '{"files":-1,"bytes":0,"carried":0}'])(
  '%j is no result',
  (text) => expect(readResult(text)).toBeUndefined(),
);
