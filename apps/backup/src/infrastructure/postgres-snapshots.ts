import { Injectable } from '@nestjs/common';
import { Client } from 'pg';
import { ShardSnapshots } from '../application/ports.js';
import { ShardsOfBackup } from './postgres-tenants.js';

/**
 * By the role that reads tenants: it sees its own sessions, which are the backups', and everybody else's where it is a
 * member of pg_read_all_stats.
 */
@Injectable()
export class PostgresSnapshots extends ShardSnapshots {
  constructor(private readonly shards: ShardsOfBackup) {
    super();
  }

  async oldest(): Promise<ReadonlyMap<string, number>> {
    const found = await Promise.all(
      this.shards.names.map(async (name) => [name, await this.shards.reading(name, oldestOn)] as const),
    );
    return new Map(found);
  }
}

async function oldestOn(readerUrl: string): Promise<number> {
  const client = new Client({ connectionString: readerUrl, connectionTimeoutMillis: 5_000, query_timeout: 5_000 });
  // What breaks the connection is told to whoever asks.
  client.on('error', () => {});
  await client.connect();
  try {
    const { rows } = await client.query<{ seconds: number }>(
      `SELECT coalesce(extract(epoch FROM now() - min(xact_start)), 0)::float8 AS seconds
       FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()`,
    );
    return rows[0]!.seconds;
  } finally {
    await client.end();
  }
}
