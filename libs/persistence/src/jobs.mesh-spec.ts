import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '#testing/database.js';
import { waitFor } from '#testing/wait-for.js';
import { Database, JobQueue, JobWorker, type Lease, LeaseLost, type Reconcile } from './index.js';
import { jobsMigrations } from './jobs.migration.js';

let server: TestDatabase;
let database: Database;
let queue: JobQueue;
const workers: JobWorker[] = [];

beforeAll(async () => {
  server = await createTestDatabase('jobs');
  database = await open();
  queue = new JobQueue(database);
});

afterAll(async () => {
  for (const open of gates) open();
  await Promise.all(workers.map((worker) => worker.drain()));
  await database?.close();
  await server?.drop();
});

const open = () =>
  Database.open({
    url: server.url,
    schema: server.schema,
    applicationName: 'jobs spec',
    migrations: [...jobsMigrations],
  });

function work(kind: string, reconcile: Reconcile, options: { leaseMs?: number; on?: JobQueue } = {}): JobWorker {
  const worker = new JobWorker(options.on ?? queue, {
    reconcilers: { [kind]: reconcile },
    leaseMs: options.leaseMs ?? 5_000,
    pollMs: 20,
    backoff: () => 10,
  });
  worker.start();
  workers.push(worker);
  return worker;
}

const ask = (kind: string, key: string, more: { priority?: 'interactive' | 'bulk'; inMs?: number } = {}) =>
  database.transaction((tx) => queue.ask(tx, { kind, key, ...more }));

const rows = (kind: string) => database.query('SELECT key, attempt, last_error FROM job WHERE kind = $1', [kind]);

const gates: (() => void)[] = [];

/** Resolves when told to, at the latest at the end of all tests. */
function gate(): { readonly passed: Promise<void>; open(): void } {
  let open = () => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  gates.push(open);
  return { passed, open };
}

test('two processes that start at once bring one schema up to date together', async () => {
  const fresh = await createTestDatabase('migrations');
  const options = {
    url: fresh.url,
    schema: fresh.schema,
    applicationName: 'migrations spec',
    migrations: [...jobsMigrations],
  };
  const [one, two] = await Promise.all([Database.open(options), Database.open(options)]);
  expect(await two.query('SELECT * FROM job')).toEqual([]);
  await Promise.all([one.close(), two.close()]);
  await fresh.drop();
});

test('a job that is asked for many times before it runs, runs once', async () => {
  const ran: string[] = [];
  for (let i = 0; i < 5; i++) await ask('once', 'a');
  work('once', async ({ key }) => {
    ran.push(key);
    return 'done';
  });
  await waitFor('the job to be gone', async () => (await rows('once')).length === 0);
  expect(ran).toEqual(['a']);
});

test('a job that is asked for while it runs, runs once more', async () => {
  const first = gate();
  let runs = 0;
  work('twice', async () => {
    runs += 1;
    if (runs === 1) await first.passed;
    return 'done';
  });
  await ask('twice', 'a');
  await waitFor('the first run', () => runs === 1);
  await ask('twice', 'a');
  first.open();
  await waitFor('the second run', () => runs === 2);
  await waitFor('the job to be gone', async () => (await rows('twice')).length === 0);
});

test('what was asked for in a transaction that is rolled back was not asked for', async () => {
  await expect(
    database.transaction(async (tx) => {
      await queue.ask(tx, { kind: 'ghost', key: 'a' });
      throw new Error('no');
    }),
  ).rejects.toThrow('no');
  expect(await rows('ghost')).toEqual([]);
});

test('a job that fails comes again and keeps its error until it succeeds', async () => {
  let runs = 0;
  work('flaky', async () => {
    runs += 1;
    if (runs < 4) throw new Error(`failure ${runs}`);
    return 'done';
  });
  await ask('flaky', 'a');
  await waitFor('success', async () => runs === 4 && (await rows('flaky')).length === 0);
});

test('a job that wants to look again waits, and hurrying it wakes it', async () => {
  let runs = 0;
  work('watching', async () => {
    runs += 1;
    return runs < 2 ? { again: 3_600_000 } : 'done';
  });
  await ask('watching', 'a');
  await waitFor('the first look', () => runs === 1);
  await waitFor('it to wait', async () => {
    const [row] = await database.query(
      `SELECT 1 FROM job WHERE kind = 'watching' AND due_at > now() + interval '1 min'`,
    );
    return row;
  });
  await queue.hurry('watching', 'a');
  await waitFor('the second look', () => runs === 2);
});

test('who is to look again soon, or failed, is not made to wait for a look at all that is due', async () => {
  const outcomes = [{ again: 50 }, 'fails', { again: 50 }, 'done'] as const;
  let runs = 0;
  const worker = new JobWorker(queue, {
    reconcilers: {
      soon: async () => {
        const outcome = outcomes[runs++]!;
        if (outcome === 'fails') throw new Error('the world is away');
        return outcome;
      },
    },
    backoff: () => 50,
    pollMs: 3_600_000,
  });
  worker.start();
  workers.push(worker);
  await ask('soon', 'a');
  await waitFor('its end', async () => runs === outcomes.length && (await rows('soon')).length === 0);
});

test('hurried again and again within a moment, it looks once when that is over', async () => {
  let runs = 0;
  work('gathering', async () => {
    runs += 1;
    return { again: 3_600_000 };
  });
  await ask('gathering', 'a');
  const waits = async () => {
    const [row] = await database.query(
      `SELECT 1 FROM job WHERE kind = 'gathering' AND due_at > now() + interval '1 min' AND lease_until IS NULL`,
    );
    return row;
  };
  await waitFor('it to wait', waits);
  for (let change = 0; change < 20; change += 1) await queue.hurry('gathering', 'a', 1_500);
  expect(runs).toBe(1);
  await waitFor('the second look', () => runs === 2);
  await waitFor('it to wait again', waits);
  expect(runs).toBe(2);
});

test('what somebody waits for runs before what nobody will miss', async () => {
  const order: string[] = [];
  await ask('lane', 'bulk', { priority: 'bulk' });
  await ask('lane', 'interactive', { priority: 'interactive' });
  const claimed = await queue.claim(['lane'], 'spec', 5_000, 1);
  order.push(...claimed.map((job) => job.key));
  expect(order).toEqual(['interactive']);
});

test('no more is claimed than asked for, however PostgreSQL goes about it', async () => {
  // As when it has looked at the table while there was one row in it: it takes a loop within a loop for cheap.
  await database.query('DELETE FROM job');
  await ask('limited', 'a');
  await database.query('VACUUM ANALYZE job');
  for (const key of ['b', 'c', 'd']) await ask('limited', key);
  const claimed = await queue.claim(['limited'], 'spec', 5_000, 2);
  expect(claimed).toHaveLength(2);
  await database.query(`DELETE FROM job WHERE kind = 'limited'`);
});

test('what somebody waits for has a slot, however many others take long', async () => {
  const open = gate();
  const running = new Set<string>();
  const worker = new JobWorker(queue, {
    reconcilers: {
      slots: async ({ key }) => {
        running.add(key);
        await open.passed;
        return 'done';
      },
    },
    ...{ concurrency: 3, kept: 1, pollMs: 20 },
  });
  for (const key of ['a', 'b', 'c']) await ask('slots', key, { priority: 'bulk' });
  worker.start();
  workers.push(worker);
  await waitFor('two of them', () => running.size === 2);
  await ask('slots', 'interactive', { priority: 'interactive' });
  await waitFor('it to run', () => running.has('interactive'));
  expect(running.size).toBe(3);
  open.open();
  await waitFor('all to be done', async () => (await rows('slots')).length === 0);
});

test('two workers never run one job at the same time', async () => {
  let running = 0;
  let most = 0;
  let runs = 0;
  const other = await open();
  const reconcile: Reconcile = async () => {
    running += 1;
    most = Math.max(most, running);
    runs += 1;
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    return runs < 100 ? { again: 0 } : 'done';
  };
  work('alone', reconcile);
  const second = work('alone', reconcile, { on: new JobQueue(other) });
  await ask('alone', 'a');
  await waitFor('100 runs', () => runs >= 100);
  expect(most).toBe(1);
  await second.drain();
  await other.close();
});

test('a worker whose lease was taken while it slept may neither act nor commit', async () => {
  const seen: string[] = [];
  // A lease of no length stands for a process that was stopped: its heartbeat cannot save it either.
  await ask('stolen', 'a');
  const [mine] = await queue.claim(['stolen'], 'sleeper', 1, 1);
  const thief = await waitFor(
    'the lease to be taken',
    async () => (await queue.claim(['stolen'], 'thief', 60_000, 1))[0],
  );

  await expect(queue.check(mine!)).rejects.toThrow(LeaseLost);
  await expect(
    database.transaction(async (tx) => {
      await queue.hold(tx, mine!);
      seen.push('committed');
    }),
  ).rejects.toThrow(LeaseLost);
  expect(await queue.extend(mine!, 60_000)).toBe(false);
  // Nor does its end touch what the other one holds.
  await queue.finish(mine!);
  await queue.failed(mine!, 'late', 0);
  await queue.check(thief);
  expect(seen).toEqual([]);
  await queue.finish(thief);
  expect(await rows('stolen')).toEqual([]);
});

test('a heartbeat that comes after the end of a run does not take the job again', async () => {
  await ask('late', 'a');
  const [job] = await queue.claim(['late'], 'spec', 5_000, 1);
  await queue.again(job!, 0);
  expect(await queue.extend(job!, 60_000)).toBe(false);
  expect(await queue.claim(['late'], 'next', 5_000, 1)).toHaveLength(1);
});

test('a fence is never given twice, also when a job is gone and comes again', async () => {
  const fences: bigint[] = [];
  for (let i = 0; i < 3; i++) {
    await ask('fenced', 'a');
    const [job] = await queue.claim(['fenced'], 'spec', 5_000, 1);
    fences.push(BigInt(job!.fence));
    await queue.finish(job!);
  }
  expect(fences[0]! < fences[1]! && fences[1]! < fences[2]!).toBe(true);
});

test('a job whose worker died is taken over when its lease runs out', async () => {
  await ask('orphan', 'a');
  await queue.claim(['orphan'], 'dead', 50, 1);
  let taken: Lease | undefined;
  work('orphan', async (lease) => {
    taken = lease;
    return 'done';
  });
  await waitFor('another worker', () => taken);
  expect(taken!.attempt).toBe(2);
});

test('a job that kills whoever takes it rests longer each time, and is reported as stuck', async () => {
  await ask('deadly', 'a');
  let claims = 0;
  const claim = () =>
    waitFor('the next claim', async () => (await queue.claim(['deadly'], 'dead', 10, 1)).length === 1 && ++claims);
  const times: number[] = [];
  for (let i = 0; i < 3; i++) {
    await claim();
    times.push(Date.now());
  }
  // After the first death at once, after the second 2 s later.
  expect(times[2]! - times[1]!).toBeGreaterThan(1_500);
  expect(times[2]! - times[1]!).toBeGreaterThan(times[1]! - times[0]!);
  expect(await queue.stuckJobs(10)).toEqual([]);
  await database.query(`UPDATE job SET attempt = 8, last_error = 'why' WHERE kind = 'deadly'`);
  expect(await queue.stuckJobs(10)).toMatchObject([{ kind: 'deadly', key: 'a', attempt: 8, lastError: 'why' }]);
  expect(await queue.figures()).toContainEqual(expect.objectContaining({ kind: 'deadly', stuck: 1 }));
  await database.query(`DELETE FROM job WHERE kind = 'deadly'`);
});

test('what is only noted is no progress of a job that kills whoever takes it', async () => {
  await ask('noted', 'a');
  const holding = async (what: 'progress' | 'note') => {
    const job = await waitFor('the next claim', async () => (await queue.claim(['noted'], 'dead', 200, 1))[0]);
    await database.transaction((tx) => queue.hold(tx, job, what));
    return job.attempt;
  };
  expect([await holding('note'), await holding('note'), await holding('progress')]).toEqual([1, 2, 3]);
  expect(await holding('note')).toBe(2);
  await database.query(`DELETE FROM job WHERE kind = 'noted'`);
});

test('a worker whose process stood still for longer than its lease changes nothing when it goes on', async () => {
  await ask('frozen', 'a');
  const seen: string[] = [];
  work(
    'frozen',
    async (lease) => {
      if (lease.attempt > 1) return 'done';
      await lease.check();
      lease.fence();
      // As SIGSTOP does it: nothing of this process goes on, neither timers nor heartbeats.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 400);
      seen.push('thawed');
      lease.fence();
      seen.push('effect');
      return 'done';
    },
    { leaseMs: 200 },
  );
  await waitFor('the job to be gone', async () => (await rows('frozen')).length === 0);
  expect(seen).toEqual(['thawed']);
});

test('the lease of a long run is kept alive', async () => {
  const end = gate();
  let attempts = 0;
  work(
    'long',
    async (lease) => {
      attempts += 1;
      await end.passed;
      await lease.check();
      return 'done';
    },
    { leaseMs: 800 },
  );
  await ask('long', 'a');
  await waitFor('it to run', () => attempts === 1);
  const until = Date.now() + 2_400;
  await waitFor('three leases to have passed', () => Date.now() > until);
  end.open();
  await waitFor('the job to be gone', async () => (await rows('long')).length === 0);
  expect(attempts).toBe(1);
});

test('draining tells a run to come to an end, waits for it, and leaves the job to others', async () => {
  let told = false;
  let running = false;
  const worker = work('drained', async ({ signal }) => {
    running = true;
    // Aborted from the start when it was claimed once more while the worker drained.
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    told = true;
    return { again: 0 };
  });
  await ask('drained', 'a');
  await waitFor('it to run', () => running);
  await worker.drain();
  expect(told).toBe(true);
  const [job] = await queue.claim(['drained'], 'next', 5_000, 1);
  expect(job?.key).toBe('a');
});
