import type { Client } from 'pg';
import type { Database } from '#persistence/index.js';

const answerLimitMs = 10_000;
const heartbeatMs = 1_000;
/** Of a holder that has said nothing for this long nobody knows whether it will ever go on. */
const silentForSeconds = 5;

/** The two halves of the lock's key, as `pg_locks` shows them. */
const key = `hashtext('outbox relay'), hashtext(current_schema())`;

/**
 * Which process of a service relays. A session lock of the database: it ends with its holder's connection, at once when
 * the process dies. One that lives and stands still would keep it, and the service would say nothing more; so its holder
 * has to be heard on its session every second, and whoever waits ends the session of a silent one. If that one wakes up
 * it finds its connection gone: what it was about to send is sent twice at most, and nothing is forgotten.
 */
export class RelayLock {
  private session: Client | undefined;
  private holding = false;
  private heartbeat: NodeJS.Timeout | undefined;
  private lookedAt = 0;

  constructor(
    private readonly database: Database,
    private readonly onTrouble: (what: string, error: unknown) => void,
  ) {}

  /** As far as this process knows; it does not ask. */
  get isOurs(): boolean {
    return this.holding;
  }

  /** Takes it if it is free. Throws when the database cannot be asked. */
  async held(): Promise<boolean> {
    if (this.holding) return true;
    const session = this.session ?? (await this.open());
    try {
      const { rows } = await session.query(`SELECT pg_try_advisory_lock(${key}) AS held`);
      this.holding = rows[0].held;
      if (!this.holding) await this.endSilentHolder(session);
    } catch (error) {
      // Not answered in time, perhaps: nothing more will come on it.
      this.drop(session);
      throw error;
    }
    return this.holding;
  }

  async release(): Promise<void> {
    const { session } = this;
    clearInterval(this.heartbeat);
    this.session = undefined;
    this.holding = false;
    await session?.end().catch(() => {});
  }

  private async open(): Promise<Client> {
    const session = await this.database.connect(answerLimitMs);
    session.once('end', () => this.drop(session));
    this.session = session;
    clearInterval(this.heartbeat);
    this.heartbeat = setInterval(() => {
      if (this.holding) session.query('SELECT 1').catch(() => this.drop(session));
    }, heartbeatMs).unref();
    return session;
  }

  private drop(session: Client): void {
    if (this.session === session) {
      this.session = undefined;
      this.holding = false;
      clearInterval(this.heartbeat);
    }
    void session.end().catch(() => {});
  }

  private async endSilentHolder(session: Client): Promise<void> {
    if (Date.now() - this.lookedAt < heartbeatMs) return;
    this.lookedAt = Date.now();
    const { rows } = await session.query(
      `SELECT pg_terminate_backend(pid, 1000) FROM pg_locks JOIN pg_stat_activity USING (pid)
       WHERE locktype = 'advisory' AND objsubid = 2 AND granted
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
         AND (classid::bigint, objid::bigint) = (
           SELECT one::bigint & 4294967295, two::bigint & 4294967295 FROM (VALUES (${key})) AS lock (one, two))
         AND state_change < now() - $1 * interval '1 second'`,
      [silentForSeconds],
    );
    if (rows.length > 0) this.onTrouble('outbox taken over', new Error('the process that relayed it stood still'));
  }
}
