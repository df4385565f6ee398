import { Client, Pool, type PoolClient, type QueryResult } from 'pg';
import { thatEndsWhenSilentFor } from '#persistence/index.js';
import { type Ask, inTransaction } from './reading-session.js';

/** Throws when whoever works has lost the right to, for instance because its lease went to another. */
export type Fence = () => void;

/** A connection with a fence before each statement. */
export interface Session {
  // biome-ignore lint/suspicious/noExplicitAny: rows are what the statement makes them, as pg itself types it
  query<Row extends object = any>(sql: string, parameters?: readonly unknown[]): Promise<QueryResult<Row>>;
}

interface Borrowed {
  readonly session: Pick<PoolClient, 'query'>;
  giveBack(broken: Error | undefined): Promise<void>;
}

const takeOverWithinMs = 10_000;
/** A living server says something within the limit of a statement. */
const silentForMs = 80_000;
const limits = '-c statement_timeout=60000 -c lock_timeout=20000 -c idle_in_transaction_session_timeout=60000';

/** One database server with tenants on it, as the mesh's role there (CREATEDB, CREATEROLE, no superuser). */
export class Shard {
  private readonly pool: Pool;

  constructor(
    readonly name: string,
    /** `postgres://<mesh>_shard:password@host:port/postgres` */
    private readonly url: string,
    /** Every role, group and comment of ours carries it: several meshes can share one server. */
    readonly meshName: string,
    /** After so long without a word of the server, in ms, a connection is given up. For tests. */
    private readonly silenceMs = silentForMs,
  ) {
    this.pool = new Pool({
      connectionString: url,
      max: 10,
      connectionTimeoutMillis: 5_000,
      application_name: `${meshName} shard ${name}`,
      options: limits,
      stream: () => thatEndsWhenSilentFor(silenceMs),
    });
    // A connection that the server ends must not end the process: neither an idle one, nor one at work between statements.
    this.pool.on('error', () => {});
    this.pool.on('connect', (client) => client.on('error', () => {}));
  }

  /** What a tenant's odoo.conf has to say. */
  get address(): { readonly host: string; readonly port: number } {
    const { hostname, port } = new URL(this.url);
    return { host: hostname, port: Number(port || 5432) };
  }

  /** For a role of which one knows the password. */
  urlOf(database: string, role: string, password: string): string {
    const url = new URL(this.url);
    url.pathname = `/${encodeURIComponent(database)}`;
    url.username = encodeURIComponent(role);
    url.password = encodeURIComponent(password);
    return url.toString();
  }

  get tenantGroup(): string {
    return `${this.meshName.replaceAll('-', '_')}_tenant`;
  }

  get readerGroup(): string {
    return `${this.meshName.replaceAll('-', '_')}_reader`;
  }

  async query<Row = Record<string, unknown>>(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    return (await this.pool.query(sql, [...parameters])).rows;
  }

  /**
   * One worker at a time for one tenant name, on this whole server: the lock lives and dies with its session, which is
   * also the one `work` gets. Without a fence the others wait. With one, who comes later has the right, because its lease
   * is the younger one: whoever still works there, frozen perhaps, has its sessions ended, and can never go on with them.
   */
  async exclusively<T>(
    tenant: string,
    work: (session: Session) => Promise<T>,
    fence?: Fence,
    /** Of one statement, in ms, where it may take longer than others do. */
    longestMs?: number,
  ): Promise<T> {
    const { session, giveBack } = longestMs === undefined ? await this.borrow() : await this.connectFor(longestMs);
    let broken: Error | undefined;
    try {
      if (fence) await this.takeOver(session, tenant, fence);
      else await session.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [tenant]);
      const result = await work(behind(fence, session));
      await session.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [tenant]);
      return result;
    } catch (error) {
      // Whatever went wrong: a session that may still hold the lock does not go back into the pool.
      broken = error as Error;
      throw error;
    } finally {
      await giveBack(broken);
    }
  }

  private async borrow(): Promise<Borrowed> {
    const session = await this.pool.connect();
    return { session, giveBack: async (broken) => session.release(broken) };
  }

  /** A connection of its own, which is silent for as long as its statement takes. */
  private async connectFor(longestMs: number): Promise<Borrowed> {
    const session = new Client({
      connectionString: this.url,
      connectionTimeoutMillis: 5_000,
      application_name: `${this.meshName} shard ${this.name}`,
      options: `${limits} -c statement_timeout=${longestMs}`,
      stream: () => thatEndsWhenSilentFor(longestMs + this.silenceMs),
    });
    session.on('error', () => {});
    await session.connect();
    return { session, giveBack: () => session.end() };
  }

  /** A connection into one tenant database, for as long as `work` takes. `as`: not as the mesh's role. */
  async inside<T>(
    database: string,
    work: (client: Session) => Promise<T>,
    fence?: Fence,
    as?: { readonly role: string; readonly password: string },
  ): Promise<T> {
    const url = new URL(this.url);
    url.pathname = `/${encodeURIComponent(database)}`;
    if (as) [url.username, url.password] = [encodeURIComponent(as.role), encodeURIComponent(as.password)];
    const client = new Client({
      connectionString: url.toString(),
      connectionTimeoutMillis: 5_000,
      application_name: `${this.meshName} shard ${this.name}`,
      options: limits,
      stream: () => thatEndsWhenSilentFor(this.silenceMs),
    });
    client.on('error', () => {});
    await client.connect();
    try {
      return await work(behind(fence, client));
    } finally {
      await client.end();
    }
  }

  /** One transaction in which nothing is changed and nothing that a tenant made is run, though its tables are read. */
  async reading<T>(database: string, work: (ask: Ask) => Promise<T>, longestMs: number): Promise<T> {
    const applicationName = `${this.meshName} shard ${this.name}`;
    return await inTransaction(this.url, database, { longestMs, applicationName }, work);
  }

  private async takeOver(session: Borrowed['session'], tenant: string, fence: Fence): Promise<void> {
    const until = Date.now() + takeOverWithinMs;
    while (true) {
      fence();
      const { rows } = await session.query('SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS held', [tenant]);
      if (rows[0].held) break;
      if (Date.now() > until) throw new Error(`whoever works on ${tenant} does not let go of it`);
      fence();
      await session.query(
        `SELECT pg_terminate_backend(pid, 1000) FROM pg_locks
         WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND pid <> pg_backend_pid()
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
           AND (classid::bigint << 32) | objid::bigint = hashtextextended($1, 0)`,
        [tenant],
      );
    }
    // And inside the tenant's database and its copies, where it may hold rows.
    fence();
    await session.query(
      `SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
       WHERE (datname = $1 OR starts_with(datname, $1 || '_')) AND usename = current_user`,
      [tenant],
    );
  }

  async close(): Promise<void> {
    await this.pool.end();
  }
}

function behind(fence: Fence | undefined, session: Pick<PoolClient, 'query'>): Session {
  return {
    query: (sql, parameters = []) => {
      fence?.();
      return session.query(sql, [...parameters]);
    },
  };
}
