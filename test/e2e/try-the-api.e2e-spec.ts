import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { longForm, stackEnvironment } from './config.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let folder: string;

beforeAll(async () => {
  mesh = await TestMesh.start({ callsPerMinute: 1_000_000 });
  folder = mkdtempSync('/tmp/mesh-try-');
});
afterAll(async () => {
  await mesh?.stop();
  rmSync(folder, { recursive: true });
});

/** Schemathesis, which knows nothing of us but the document: it sends what fits and what does not, and reads the answers. */
function tryApi(options: readonly string[]): Promise<{ code: number; output: string }> {
  const python = stackEnvironment().MESH_PYTHON;
  if (!python) throw new Error('MESH_PYTHON names no Python with schemathesis; npm test sets it');
  const config = join(folder, 'schemathesis.toml');
  // The key stands in the environment and not among the arguments, which everybody on the machine can read.
  writeFileSync(config, '[headers]\nAuthorization = "Bearer ${API_KEY}"\n');
  return new Promise((resolve) => {
    execFile(
      join(dirname(python), 'schemathesis'),
      ['--config-file', config, 'run', 'apps/api-gateway/openapi.json', ...options],
      {
        env: { PATH: process.env.PATH, API_KEY: mesh.installed.apiKey, LANG: 'C.UTF-8', COLUMNS: '160' },
        maxBuffer: 64 * 1024 * 1024,
      },
      (error, stdout, stderr) =>
        resolve({ code: error ? Number(error.code ?? -1) : 0, output: `${stdout}\n${stderr}`.slice(-20_000) }),
    );
  });
}

test('whatever is sent to the API, it answers as its document says, and never that it failed', async () => {
  const { code, output } = await tryApi([
    ...['--url', mesh.services.url('api-gateway'), '--workers', '2', '--phases', 'examples,coverage,fuzzing'],
    // A stream of events has no end; its own spec reads it.
    ...['--exclude-path', '/v1/events', '--checks', 'all'],
    // The same each time, so that what is red here is red again. The long form tries something new.
    ...(longForm() ? ['--max-examples', '200'] : ['--max-examples', '10', '--seed', '5']),
    ...['--continue-on-failure', '--output-truncate', 'false'],
  ]);
  if (code !== 0) throw new Error(output);
  expect(code).toBe(0);
  const [broken] = await mesh.sql<{ parked: number }>('SELECT count(*)::int AS parked FROM api_gateway.parked_message');
  expect(broken!.parked).toBe(0);
}, 600_000);
