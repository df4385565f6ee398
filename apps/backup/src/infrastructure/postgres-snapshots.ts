import { Injectable } from '@nestjs/common';
import type { Shard } from '#tenant-databases/index.js';
import { ShardSnapshots } from '../application/ports.js';
import { ShardsOfBackup } from './postgres-tenants.js';

@Injectable()
export class PostgresSnapshots extends ShardSnapshots {
  constructor(private readonly shards: ShardsOfBackup) {
    super();
  }

  async oldest(): Promise<ReadonlyMap<string, number>> {
    const { names } = this.shards;
    return new Map(
      await Promise.all(names.map(async (name) => [name, await this.shards.writing(name, oldestOn)] as const)),
    );
  }
}

async function oldestOn(shard: Shard): Promise<number> {
  const [row] = await shard.query<{ mayLook: boolean; seconds: number }>(
    `SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS "mayLook",
       coalesce(extract(epoch FROM now() - min(xact_start)), 0)::float8 AS seconds
     FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()`,
  );
  // What is hidden from us would look as if there were none.
  if (!row!.mayLook) throw new Error('the mesh’s role may not see who works on the shard: prepare it again');
  return row!.seconds;
}
