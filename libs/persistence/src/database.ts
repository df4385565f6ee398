import { Client, type PoolClient } from 'pg';
import { DataSource, type EntityManager, type EntitySchema, type MigrationInterface, QueryFailedError } from 'typeorm';
import { thatEndsWhenSilentFor } from './silent-socket.js';

/** One open transaction. Everything that must be true together goes through the same one. */
export interface Transaction {
  /** Rows of a SELECT, or of the RETURNING of a write. */
  query<Row = Record<string, unknown>>(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
  /**
   * The same for an INSERT or upsert that runs again and again: a connection plans it once, and planning is most of the
   * work of a statement that writes a few rows. The plan is kept while tables grow, so it is not for what has to search:
   * that would go through a table from end to end because it was empty once. Nor for `*`, which changes with the table.
   */
  queryPrepared<Row = Record<string, unknown>>(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
  readonly manager: EntityManager;
  /**
   * Runs once COMMIT succeeded, never after a rollback. Only for wake-ups: the process may die before it runs, so
   * nothing may depend on it.
   */
  afterCommit(callback: () => void): void;
}

export interface DatabaseOptions {
  /** The service's own login role, which owns `schema`. */
  readonly url: string;
  readonly schema: string;
  readonly applicationName: string;
  readonly entities?: readonly EntitySchema[];
  /** In order; each runs once, in a transaction of its own. Classes, because names decide what has run. */
  readonly migrations: readonly (new () => MigrationInterface)[];
  readonly poolSize?: number;
  /** A statement may take this long, then the server ends it. Default 30 s. */
  readonly statementLimitMs?: number;
}

/**
 * How long a transaction may do nothing before the server ends it: ours only compute between two statements. The rows of
 * a process that was frozen wait for this, and everybody else who needs them.
 */
const idleLimitMs = 5_000;

/** What pg, its pool and TypeORM say without a code; the last two when the connection went between two statements. */
const unavailable =
  /Connection terminated|timeout exceeded when trying to connect|Connection ended unexpectedly|Query read timeout|not queryable|Query runner already released/i;

/** PostgreSQL said no connection, or took it away: nothing is known about the world, trying again later helps. */
export function isUnavailable(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  if (code !== undefined && /^(08|57P0[123]|53300)/.test(code)) return true;
  if (code !== undefined && /^(ECONN|ETIMEDOUT|EPIPE|ENOTFOUND|EHOSTUNREACH|EAI_AGAIN)/.test(code)) return true;
  return unavailable.test(message ?? '');
}

/**
 * A client that vanished without a word (its node lost power) keeps its locks until the server's TCP notices: after two
 * hours by default, with this within half a minute.
 */
const noticeDeadPeers =
  '-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 -c tcp_user_timeout=25000';

/** Two transactions got in each other's way (serialization failure, deadlock): the same one again will do. */
export function isContention(error: unknown): boolean {
  return ['40001', '40P01'].includes((error as { code?: string }).code ?? '');
}

/** Of prepared statements: one for each text, the same in all connections of this process. */
const names = new Map<string, string>();

/** Past TypeORM, whose way to a statement knows no names; what fails looks as it does there. */
async function queryPrepared<Row>(connection: PoolClient, sql: string, parameters: readonly unknown[]): Promise<Row[]> {
  const name = names.get(sql) ?? `mesh_${names.size + 1}`;
  names.set(sql, name);
  try {
    return (await connection.query({ name, text: sql, values: [...parameters] })).rows;
  } catch (error) {
    throw new QueryFailedError(sql, [...parameters], error as Error);
  }
}

/**
 * A service's view of the mesh database: one schema, one pool. Unqualified names mean the service's schema, and no
 * service can read another's.
 */
export class Database {
  private constructor(
    readonly dataSource: DataSource,
    private readonly options: DatabaseOptions,
  ) {}

  /** Connects and brings the schema up to date. Several processes of one service may start at once. */
  static async open(options: DatabaseOptions): Promise<Database> {
    const limitMs = options.statementLimitMs ?? 30_000;
    const dataSource = new DataSource({
      type: 'postgres',
      url: options.url,
      schema: options.schema,
      applicationName: options.applicationName,
      entities: [...(options.entities ?? [])],
      migrations: [...options.migrations],
      migrationsTransactionMode: 'each',
      synchronize: false,
      logging: false,
      extra: {
        max: options.poolSize ?? 10,
        connectionTimeoutMillis: 5_000,
        // A forgotten transaction pins old row versions for everybody (facts: messaging, trap 22).
        options: `-c search_path=${options.schema} -c statement_timeout=${limitMs} -c idle_in_transaction_session_timeout=${Math.min(limitMs, idleLimitMs)} ${noticeDeadPeers}`,
        // Within its limits a living server always says something, and idle connections are closed long before.
        stream: () => thatEndsWhenSilentFor((limitMs * 4) / 3),
      },
    });
    await dataSource.initialize();
    const database = new Database(dataSource, options);
    try {
      await database.migrate();
    } catch (error) {
      await dataSource.destroy();
      throw error;
    }
    return database;
  }

  async query<Row = Record<string, unknown>>(sql: string, parameters: readonly unknown[] = []): Promise<Row[]> {
    const runner = this.dataSource.createQueryRunner();
    try {
      return (await runner.query(sql, [...parameters], true)).records ?? [];
    } finally {
      await runner.release();
    }
  }

  /** COMMIT when `work` resolves, ROLLBACK when it throws; nested use is a bug, so there is no way to nest. */
  async transaction<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    const callbacks: (() => void)[] = [];
    const result = await this.dataSource.transaction(async (manager) => {
      const connection: PoolClient = await manager.queryRunner!.connect();
      return await work({
        manager,
        query: async (sql, parameters = []) =>
          (await manager.queryRunner!.query(sql, [...parameters], true)).records ?? [],
        queryPrepared: (sql, parameters = []) => queryPrepared(connection, sql, parameters),
        afterCommit: (callback) => callbacks.push(callback),
      });
    });
    for (const callback of callbacks) callback();
    return result;
  }

  /**
   * A connection of its own, outside the pool, for session locks. The caller ends it, also after a query that was not
   * answered within `answerLimitMs` (default: no limit).
   */
  async connect(answerLimitMs?: number): Promise<Client> {
    const client = new Client({
      connectionString: this.options.url,
      application_name: `${this.options.applicationName} session`,
      connectionTimeoutMillis: 5_000,
      keepAlive: true,
      keepAliveInitialDelayMillis: 10_000,
      ...(answerLimitMs !== undefined && { query_timeout: answerLimitMs }),
      options: `-c search_path=${this.options.schema} ${noticeDeadPeers}`,
    });
    // Without a listener a connection that the server ends would end the process.
    client.on('error', () => {});
    await client.connect();
    return client;
  }

  async close(): Promise<void> {
    if (this.dataSource.isInitialized) await this.dataSource.destroy();
  }

  private async migrate(): Promise<void> {
    const session = await this.connect();
    try {
      await session.query(`SELECT pg_advisory_lock(hashtext('mesh migrations'), hashtext($1))`, [this.options.schema]);
      await this.dataSource.runMigrations();
    } finally {
      await session.end();
    }
  }
}
