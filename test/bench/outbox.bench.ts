import { Client } from 'pg';
import { InstanceProvisioningProgressed, InstanceRequested } from '#contracts/index.js';
import { Asked, defaultAskAgainMs, eventsExchange, Outbox, type PublishContext } from '#messaging/index.js';
import { bench, type Measured, type Running } from './bench.js';
import { type BenchDatabase, openDatabase, setUpDatabase } from './bench-database.js';
import { quantile } from './figures.js';
import { newMessage, routingKey, traceparent } from './messages.js';
import { inParallel } from './parallel.js';
import { Stopwatch } from './stopwatch.js';

const clients = 8;
const accounts = 1_000;
const lockRow = 'SELECT state FROM business WHERE id = $1 FOR UPDATE';
const noteMessage =
  'INSERT INTO outbox (message_id, exchange, routing_key, body, traceparent) VALUES ($1, $2, $3, $4, $5)';
const changeRow = 'UPDATE business SET state = $2, changed_at = now() WHERE id = $1';

export const outbox = bench<BenchDatabase>({
  name: 'outbox',
  says: `a transaction that locks and changes one row, with and without saying so, ${clients} clients`,
  size: {
    full: { n: 6_000, rounds: 5, warmUp: 1_500, minutes: 1.3 },
    quick: { n: 800, rounds: 3, warmUp: 200, minutes: 0.4 },
  },
  async setUp() {
    const { setting, tearDown } = await setUpDatabase('provisioner');
    const database = await openDatabase(setting);
    await database.query(
      `CREATE TABLE business (id integer PRIMARY KEY, state text NOT NULL, changed_at timestamptz NOT NULL)
       WITH (fillfactor = 50)`,
    );
    await database.query(`INSERT INTO business SELECT id, 'made', now() FROM generate_series(1, $1) AS row (id)`, [
      accounts,
    ]);
    await database.close();
    return { setting, tearDown };
  },
  contenders: {
    request: { start: (setting) => startOurs(setting, sayRequest) },
    bare: { start: (setting) => startBare(setting, false) },
    'bare, noted': { start: (setting) => startBare(setting, true) },
    fact: { start: (setting) => startOurs(setting, sayFact) },
    'says nothing': { start: (setting) => startOurs(setting, async () => {}) },
  },
  comparisons: [
    {
      says: 'with a request said (and kept until it is answered)',
      quantity: 'p50Ms',
      ours: 'request',
      reference: 'bare',
      goal: { of: 'ratio', is: 'at most', value: 1.35 },
    },
    {
      says: 'with a fact said',
      quantity: 'p50Ms',
      ours: 'fact',
      reference: 'bare',
      goal: { of: 'ratio', is: 'at most', value: 1.35 },
    },
    { says: 'libs/persistence, nothing said', quantity: 'p50Ms', ours: 'says nothing', reference: 'bare' },
    { says: 'pg alone, which notes the message too', quantity: 'p50Ms', ours: 'bare, noted', reference: 'bare' },
    { says: 'a request against saying nothing', quantity: 'p50Ms', ours: 'request', reference: 'says nothing' },
    { says: 'with a request said', quantity: 'perSecond', ours: 'request', reference: 'bare' },
    { says: 'with a request said', quantity: 'cpuMicrosEach', ours: 'request', reference: 'bare' },
  ],
  notes: [
    'Bare is pg alone: BEGIN, SELECT … FOR UPDATE, UPDATE, COMMIT, and nothing said.',
    'Bare, noted: the same with one INSERT of the message into the outbox before COMMIT. Less than that no outbox costs.',
    'No relay runs meanwhile: what the bench relay measures is not measured here once more.',
  ],
});

const { data: asked } = JSON.parse(newMessage().body);

async function sayRequest(ctx: PublishContext): Promise<void> {
  await ctx.publish(InstanceRequested, asked);
}

async function sayFact(ctx: PublishContext, id: number): Promise<void> {
  await ctx.publish(InstanceProvisioningProgressed, {
    instanceId: `00000000-0000-4000-8000-${String(id).padStart(12, '0')}`,
    footprintId: asked.instanceId,
    step: 'database',
    steps: ['secret', 'volume', 'role', 'database', 'tenant', 'workload', 'ready'],
    durationMs: 210,
  });
}

async function startOurs(
  setting: BenchDatabase,
  speak: (ctx: PublishContext, id: number) => Promise<void>,
): Promise<Running> {
  const database = await openDatabase(setting, clients);
  const ours = new Outbox(database, 'provisioner', new Asked(database, defaultAskAgainMs));
  return {
    async round(n) {
      await database.query('TRUNCATE outbox, asked');
      return await timed(n, (id) =>
        ours.transaction({ traceparent, correlationId: asked.instanceId }, async (ctx) => {
          await ctx.query(lockRow, [id]);
          await ctx.query(changeRow, [id, 'changed']);
          await speak(ctx, id);
        }),
      );
    },
    stop: () => database.close(),
  };
}

async function startBare({ databaseUrl, schema }: BenchDatabase, noted: boolean): Promise<Running> {
  const connections = await Promise.all(
    Array.from({ length: clients }, async () => {
      const client = new Client({ connectionString: databaseUrl, options: `-c search_path=${schema}` });
      await client.connect();
      return client;
    }),
  );
  return {
    async round(n) {
      await connections[0]!.query('TRUNCATE outbox');
      return await timed(n, async (id, worker) => {
        const client = connections[worker]!;
        await client.query('BEGIN');
        await client.query(lockRow, [id]);
        await client.query(changeRow, [id, 'changed']);
        if (noted) {
          const message = newMessage();
          await client.query(noteMessage, [message.id, eventsExchange, routingKey, message.body, traceparent]);
        }
        await client.query('COMMIT');
      });
    },
    stop: async () => void (await Promise.all(connections.map((client) => client.end()))),
  };
}

/** Each worker has rows of its own: nobody waits for a lock. */
async function timed(n: number, transaction: (id: number, worker: number) => Promise<void>): Promise<Measured> {
  const each: number[] = [];
  const watch = new Stopwatch();
  await inParallel(n, clients, async (index, worker) => {
    const begun = performance.now();
    await transaction(1 + ((index * clients + worker) % accounts), worker);
    each.push(performance.now() - begun);
  });
  return { p50Ms: quantile(each, 0.5), p95Ms: quantile(each, 0.95), ...watch.stop(n) };
}
