import { Client } from 'pg';
import type { ConsumeContext } from '#messaging/index.js';
import { bench, type Running } from './bench.js';
import { type BenchBroker, setUpBroker } from './bench-broker.js';
import { type BenchDatabase, openInbox, setUpDatabase } from './bench-database.js';
import { newMessages } from './messages.js';
import { inParallel } from './parallel.js';
import { Stopwatch } from './stopwatch.js';
import { type Hosted, hostTransport } from './transport-host.js';

/** What a service has when nothing else is configured. */
const prefetch = 20;
const connections = 10;
const batch = 100;

const noteOne = 'INSERT INTO inbox (source, message_id) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1';
const noteMany = `INSERT INTO inbox (source, message_id) SELECT $1, id FROM unnest($2::text[]) AS message (id)
  ON CONFLICT DO NOTHING RETURNING message_id`;

type Note = (client: Client, ids: readonly string[]) => Promise<void>;

export const inbox = bench<BenchBroker & BenchDatabase>({
  name: 'inbox',
  says: `messages noted in the inbox, one transaction each or up to ${batch} in one, ${connections} connections`,
  size: {
    full: { n: 10_000, rounds: 5, warmUp: 2_000, minutes: 1.2 },
    quick: { n: 1_000, rounds: 3, warmUp: 300, minutes: 0.5 },
  },
  async setUp() {
    const [broker, database] = await Promise.all([setUpBroker(), setUpDatabase('capacity_planner')]);
    return {
      setting: { ...broker.setting, ...database.setting },
      tearDown: async () => void (await Promise.all([broker.tearDown(), database.tearDown()])),
    };
  },
  contenders: {
    inline: { start: (setting) => hostFacts(setting, 'one by one') },
    batch: { start: (setting) => hostFacts(setting, 'in batches') },
    'inline, a row': { start: (setting) => hostFacts(setting, 'one by one', writeRow) },
    'batch, a row': { start: (setting) => hostFacts(setting, 'in batches', writeRow) },
    'bare transaction': { start: (setting) => startBare(setting, 1, inTransaction) },
    'bare statement': { start: (setting) => startBare(setting, 1, alone) },
    'bare batch': { start: (setting) => startBare(setting, batch, alone) },
  },
  comparisons: [
    { says: 'batches against one by one', quantity: 'perSecond', ours: 'batch', reference: 'inline' },
    { says: 'batches against one by one', quantity: 'cpuMicrosEach', ours: 'batch', reference: 'inline' },
    {
      says: 'the same, and each writes a row',
      quantity: 'perSecond',
      ours: 'batch, a row',
      reference: 'inline, a row',
    },
    {
      says: 'one by one against the bare transaction',
      quantity: 'perSecond',
      ours: 'inline',
      reference: 'bare transaction',
    },
    {
      says: 'one by one against the bare statement',
      quantity: 'perSecond',
      ours: 'inline',
      reference: 'bare statement',
    },
    { says: 'batches against bare batches of 100', quantity: 'perSecond', ours: 'batch', reference: 'bare batch' },
    {
      says: 'one by one against the bare transaction',
      quantity: 'cpuMicrosEach',
      ours: 'inline',
      reference: 'bare transaction',
    },
  ],
  notes: [
    `Ours is the whole way of a fact: from the broker (prefetch ${prefetch}, 200 for batches), validated, noted, acknowledged. The bare ones are pg alone and no broker.`,
    'A fact of ours writes two rows: the note, and the newest sequence of its subject. The bare ones write the note alone.',
    'A row: the handler inserts one, in a statement of its own, in batches too.',
  ],
});

const writeRow = (ctx: ConsumeContext) =>
  ctx.query('INSERT INTO effect (message_id, what) VALUES ($1, $2)', [ctx.message.id, ctx.message.type]);

function hostFacts(setting: BenchBroker & BenchDatabase, facts: Hosted['facts'], effect?: Hosted['effect']) {
  return hostTransport(setting, { prefetch, open: () => openInbox(setting), ...{ facts, effect } })();
}

const alone: Note = async (client, ids) => {
  if (ids.length === 1) await client.query(noteOne, ['api-gateway', ids[0]]);
  else await client.query(noteMany, ['api-gateway', ids]);
};

const inTransaction: Note = async (client, ids) => {
  await client.query('BEGIN');
  await alone(client, ids);
  await client.query('COMMIT');
};

async function startBare({ databaseUrl, schema }: BenchDatabase, atOnce: number, note: Note): Promise<Running> {
  const clients = await Promise.all(
    Array.from({ length: connections }, async () => {
      const client = new Client({ connectionString: databaseUrl, options: `-c search_path=${schema}` });
      await client.connect();
      return client;
    }),
  );
  return {
    async round(n) {
      const ids = newMessages(n).map(({ id }) => id);
      const watch = new Stopwatch();
      await inParallel(Math.ceil(n / atOnce), connections, (index, worker) =>
        note(clients[worker]!, ids.slice(index * atOnce, (index + 1) * atOnce)),
      );
      return watch.stop(n);
    },
    stop: async () => void (await Promise.all(clients.map((client) => client.end()))),
  };
}
