import { expect, test } from '@jest/globals';
import { runProgram } from './run-program.js';

const shell = (script: string, environment: Record<string, string> = {}) =>
  runProgram('/bin/sh', ['-c', script], { environment, code: 'DUMP_FAILED' });

test('of what it says only the errors are told, without the rows beside them and the password', async () => {
  const said = `echo 'pg_restore: error: COPY failed for hush' >&2; echo 'CONTEXT:  COPY t, line 1: "a name"' >&2; exit 3`;
  const { ended, stdout } = shell(said, { PGPASSWORD: 'hush' });
  stdout.resume();
  await expect(ended).rejects.toThrow(/^sh ended with 3: pg_restore: error: COPY failed for …$/);
});
