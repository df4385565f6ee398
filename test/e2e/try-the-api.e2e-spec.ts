import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
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
function tryApi(config: string, options: readonly string[]): Promise<{ code: number; output: string }> {
  const python = stackEnvironment().MESH_PYTHON;
  if (!python) throw new Error('MESH_PYTHON names no Python with schemathesis; npm test sets it');
  const file = join(folder, 'schemathesis.toml');
  writeFileSync(file, config);
  return new Promise((done) => {
    execFile(
      python,
      ['-m', 'schemathesis.cli', '--config-file', file, 'run', resolve('apps/api-gateway/openapi.json'), ...options],
      {
        // It leaves a folder with what it tried.
        cwd: folder,
        // The key stands here and not among the arguments, which everybody on the machine can read.
        env: { PATH: process.env.PATH, API_AUTHORIZATION: `Bearer ${mesh.installed.apiKey}`, COLUMNS: '160' },
        maxBuffer: 64 * 1024 * 1024,
      },
      (error, stdout, stderr) => done({ code: error ? 1 : 0, output: `${stdout}\n${stderr}`.slice(-20_000) }),
    );
  });
}

/** Something for each address with an id in it. */
async function somethingThere(): Promise<Record<string, string>> {
  const request = mesh.request('there');
  const broken = mesh.request('broken', { company: 'a\nb' });
  await mesh.publish(request);
  await mesh.publish(broken);
  const ready = await mesh.ready(request.data.instanceId);
  const { backupId, restoreId } = await restoredOnce(ready);
  const key = await mesh.api('/v1/api-keys', { method: 'POST', body: { name: 'there', role: 'viewer' } });
  const [parked] = await waitFor('a parked message', async () => {
    const { items } = (await mesh.api('/v1/parked-messages')).body;
    return items.length > 0 ? items : undefined;
  });
  await waitFor('the cell', async () => (await mesh.api('/v1/cells/c0')).status === 200);
  return {
    instanceId: request.data.instanceId,
    operationId: request.id,
    backupId,
    restoreId,
    cell: 'c0',
    parked: parked.id,
    key: key.body.id,
  };
}

/** As the backup service says it. */
async function restoredOnce({ instanceId, footprintId, template }: Awaited<ReturnType<TestMesh['ready']>>) {
  const [backupId, restoreId] = [newId(), newId()];
  const say = async (key: string, subject: string, data: object) => {
    const envelope = { specversion: '1.0', id: newId(), source: 'backup', type: `mesh.${key}`, subject };
    await mesh.publish(
      { ...envelope, sequence: Date.now(), data: { instanceId, backupId, ...data } },
      { key, as: 'backup' },
    );
  };
  const made = { takenAt: new Date().toISOString(), template, databaseBytes: 1, filesBytes: 1, files: 1 };
  const checksum = 'ab'.repeat(32);
  await say('backup.completed.v1', backupId, { footprintId, why: 'scheduled', ...made, checksum });
  const restored = { mode: 'files-only', footprintId, durationMs: 1, rows: 1, files: 1 };
  await say('restore.completed.v1', restoreId, { restoreId, ...restored });
  await waitFor('the restore', async () => (await mesh.api(`/v1/restores/${restoreId}`)).status === 200);
  return { backupId, restoreId };
}

const configWith = (ids: Record<string, string>) => `
[headers]
Authorization = "\${API_AUTHORIZATION}"

[parameters]
"path.instanceId" = "${ids.instanceId}"
"path.operationId" = "${ids.operationId}"
"path.cell" = "${ids.cell}"
"path.backupId" = "${ids.backupId}"
"path.restoreId" = "${ids.restoreId}"

[checks.positive_data_acceptance]
# What fits the document by its form may yet be told that its Idempotency-Key came with something else before.
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 422, 429]

[[operations]]
include-path-regex = "^/v1/parked-messages/"
parameters = { "path.id" = "${ids.parked}" }

[[operations]]
include-path-regex = "^/v1/api-keys/"
parameters = { "path.id" = "${ids.key}" }
`;

test('whatever is sent to the API, it answers as its document says, and never that it failed', async () => {
  const config = configWith(await somethingThere());
  const { code, output } = await tryApi(config, [
    // One worker: CPython 3.11 sometimes fails to parse a source in two threads ("AST constructor recursion depth mismatch").
    ...['--url', mesh.services.url('api-gateway'), '--workers', '1', '--phases', 'examples,coverage,fuzzing'],
    // A stream of events has no end; its own spec reads it.
    ...['--exclude-path', '/v1/events', '--checks', 'all'],
    // The same each time, so that what is red here is red again. The long form tries something new.
    ...(longForm() ? ['--max-examples', '200'] : ['--max-examples', '5', '--seed', '5']),
    ...['--continue-on-failure', '--output-truncate', 'false'],
  ]);
  if (code !== 0) throw new Error(output);
  expect(code).toBe(0);
  // What was let in was fit to be said: nobody had to park it.
  const unfit = `SELECT 1 FROM api_gateway.parked_message WHERE publisher LIKE '%api-gateway' AND reason <> 'unrouted'`;
  expect(await mesh.sql(unfit)).toEqual([]);
}, 600_000);
