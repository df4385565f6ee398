import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { runProgram } from './run-program.js';

const shell = (script: string, environment: Record<string, string> = {}, signal?: AbortSignal) =>
  runProgram('/bin/sh', ['-c', script], { environment, signal, code: 'DUMP_FAILED' });

test('a program that is over, and whose output nobody has read, ends with the signal too', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'run-program-'));
  try {
    const stop = new AbortController();
    const { ended, stdout } = shell('head -c 100000 /dev/zero; : > "$FOLDER/over"', { FOLDER: folder }, stop.signal);
    // A reader that has stopped, and does not say so.
    stdout.pipe(new Writable({ highWaterMark: 1, write: () => {} }));
    await waitFor('its end', () => existsSync(join(folder, 'over')));
    stop.abort(new Error('told to stop'));
    await expect(ended).rejects.toThrow('told to stop');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('of what it says only the errors are told, without the rows beside them and the password', async () => {
  const said = `echo 'pg_restore: error: COPY failed for hush' >&2; echo 'CONTEXT:  COPY t, line 1: "a name"' >&2; exit 3`;
  const { ended, stdout } = shell(said, { PGPASSWORD: 'hush' });
  stdout.resume();
  await expect(ended).rejects.toThrow(/^sh ended with 3: pg_restore: error: COPY failed for …$/);
});
