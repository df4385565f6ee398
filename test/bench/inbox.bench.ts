import { Client } from 'pg';
import { bench, type Running } from './bench.js';
import { type BenchBroker, setUpBroker } from './bench-broker.js';
import { type BenchDatabase, openInbox, setUpDatabase } from './bench-database.js';
import { newMessages } from './messages.js';
import { inParallel } from './parallel.js';
import { Stopwatch } from './stopwatch.js';
import { hostTransport } from './transport-host.js';

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
  says: `messages noted in the inbox, one transaction each, ${connections} connections`,
  size: {
    full: { n: 10_000, rounds: 5, warmUp: 2_000, minutes: 0.8 },
    quick: { n: 1_000, rounds: 3, warmUp: 300, minutes: 0.4 },
  },
  async setUp() {
    const [broker, database] = await Promise.all([setUpBroker(), setUpDatabase('capacity_planner')]);
    return {
      setting: { ...broker.setting, ...database.setting },
      tearDown: async () => void (await Promise.all([broker.tearDown(), database.tearDown()])),
    };
  },
  contenders: {
    inline: { start: (setting) => hostTransport(setting, prefetch, () => openInbox(setting))() },
    'bare transaction': { start: (setting) => startBare(setting, 1, inTransaction) },
    'bare statement': { start: (setting) => startBare(setting, 1, alone) },
    'bare batch': { start: (setting) => startBare(setting, batch, alone) },
  },
  comparisons: [
    {
      says: 'inline against the bare transaction',
      quantity: 'perSecond',
      ours: 'inline',
      reference: 'bare transaction',
    },
    { says: 'inline against the bare statement', quantity: 'perSecond', ours: 'inline', reference: 'bare statement' },
    { says: 'inline against bare batches of 100', quantity: 'perSecond', ours: 'inline', reference: 'bare batch' },
    {
      says: 'inline against the bare transaction',
      quantity: 'cpuMicrosEach',
      ours: 'inline',
      reference: 'bare transaction',
    },
  ],
  notes: [
    `Inline is the whole way: from the broker (prefetch ${prefetch}), validated, noted in a transaction, acknowledged. The bare ones are pg alone and no broker.`,
    'libs/messaging has no batch mode. The bare batch, 100 notes in one statement, says what the database would give one.',
  ],
});

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
