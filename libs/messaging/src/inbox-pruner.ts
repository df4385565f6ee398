import type { Database } from '#persistence/index.js';

const keepDays = 7;
const everyMs = 10 * 60_000;
const batch = 1_000;

/**
 * Forgets the messages that were handled more than a week ago, in small batches, so that the inbox stays as large as a
 * week is. What comes again after that is a replay by a person: a fact is known by its sequence, a request by its row.
 */
export class InboxPruner {
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly database: Database,
    private readonly onTrouble: (what: string, error: unknown) => void,
  ) {}

  start(): void {
    // Not all replicas of a service at the same moment.
    const wait = everyMs * (0.75 + Math.random() / 2);
    this.timer = setTimeout(() => void this.run().then(() => this.start()), wait).unref();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private async run(): Promise<void> {
    try {
      while ((await pruneInbox(this.database)) === batch);
    } catch (error) {
      this.onTrouble('inbox not pruned', error);
    }
  }
}

/** One batch. @returns how many rows went. */
export async function pruneInbox(database: Pick<Database, 'query'>): Promise<number> {
  const gone = await database.query(
    `DELETE FROM inbox WHERE (source, message_id) IN (
       SELECT source, message_id FROM inbox WHERE handled_at < now() - $1 * interval '1 day'
       ORDER BY handled_at LIMIT $2 FOR UPDATE SKIP LOCKED)
     RETURNING 1`,
    [keepDays, batch],
  );
  return gone.length;
}
