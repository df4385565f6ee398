import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Database, JobQueue, jobsMigrations } from '#persistence/index.js';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { Program } from '#testing/process-kit.js';
import type { JobOrder, JobReport } from './fixtures/job-protocol.js';

const program = resolve(import.meta.dirname, '../../dist/test/reliability/fixtures/job-actor.js');
const workers: Program<JobReport, JobOrder>[] = [];
let server: TestDatabase;
let database: Database;

beforeAll(async () => {
  server = await createTestDatabase('frozen');
  const { url, schema } = server;
  database = await Database.open({ url, schema, applicationName: 'jobs', migrations: [...jobsMigrations] });
  await database.query('CREATE TABLE deed (key text, pid int)');
});
afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.kill()));
  await database?.close();
  await server?.drop();
});

function start(): Program<JobReport, JobOrder> {
  const { url, schema } = server;
  const environment = { ACTOR_DATABASE_URL: url, ACTOR_SCHEMA: schema };
  const worker = Program.start<JobReport, JobOrder>(program, environment);
  workers.push(worker);
  return worker;
}

const at = (worker: Program<JobReport, JobOrder>, event: JobReport['event']) =>
  worker.reported(event, (one) => one.event === event);

test('a worker that was frozen while another took its job may neither act nor commit when it thaws', async () => {
  const frozen = start();
  await database.transaction((tx) => new JobQueue(database).ask(tx, { kind: 'deed', key: 'one' }));
  await at(frozen, 'at work');
  frozen.freeze();
  const begun = Date.now();
  const other = start();
  expect(await at(other, 'at work')).toMatchObject({ key: 'one', attempt: 2 });
  console.log(`a frozen worker's job was taken ${Date.now() - begun} ms later, its lease being 1000 ms`);

  frozen.tell({ do: 'go on' });
  frozen.thaw();
  expect(await at(frozen, 'checked')).toMatchObject({ refused: true });
  expect(await at(frozen, 'committed')).toMatchObject({ refused: true });
  expect(await database.query('SELECT * FROM deed')).toEqual([]);

  other.tell({ do: 'go on' });
  expect(await at(other, 'checked')).toMatchObject({ refused: false });
  expect(await at(other, 'committed')).toMatchObject({ refused: false });
  expect(await database.query('SELECT * FROM deed')).toEqual([{ key: 'one', pid: other.pid }]);
});
