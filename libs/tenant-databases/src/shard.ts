import { Client, Pool, type PoolClient } from 'pg';

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
  ) {
    this.pool = new Pool({
      connectionString: url,
      max: 10,
      connectionTimeoutMillis: 5_000,
      application_name: `${meshName} shard ${name}`,
      options: limits,
    });
    // A connection that the server ends while idle must not end the process.
    this.pool.on('error', () => {});
  }

  /** What a tenant's odoo.conf has to say. */
  get address(): { readonly host: string; readonly port: number } {
    const { hostname, port } = new URL(this.url);
    return { host: hostname, port: Number(port || 5432) };
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
   * also the one `work` gets. The others wait.
   */
  async exclusively<T>(tenant: string, work: (session: PoolClient) => Promise<T>): Promise<T> {
    const session = await this.pool.connect();
    let broken: Error | undefined;
    try {
      await session.query('SELECT pg_advisory_lock(hashtextextended($1, 0))', [tenant]);
      try {
        return await work(session);
      } finally {
        await session.query('SELECT pg_advisory_unlock(hashtextextended($1, 0))', [tenant]);
      }
    } catch (error) {
      // Whatever went wrong: a session that may still hold the lock does not go back into the pool.
      broken = error as Error;
      throw error;
    } finally {
      session.release(broken);
    }
  }

  /** A connection into one tenant database, for as long as `work` takes. */
  async inside<T>(database: string, work: (client: Client) => Promise<T>): Promise<T> {
    const url = new URL(this.url);
    url.pathname = `/${encodeURIComponent(database)}`;
    const client = new Client({
      connectionString: url.toString(),
      connectionTimeoutMillis: 5_000,
      application_name: `${this.meshName} shard ${this.name}`,
      options: limits,
    });
    client.on('error', () => {});
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }

  async close(): Promise<void> {
    await this.pool.end();
  }
}
