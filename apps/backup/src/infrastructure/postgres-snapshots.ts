import { Injectable } from '@nestjs/common';
import { oldestSnapshotAge, type Shard } from '#tenant-databases/index.js';
import { type HeldBack, ShardSnapshots } from '../application/ports.js';
import { ShardsOfBackup } from './postgres-tenants.js';

@Injectable()
export class PostgresSnapshots extends ShardSnapshots {
  constructor(private readonly shards: ShardsOfBackup) {
    super();
  }

  async oldest(): Promise<ReadonlyMap<string, HeldBack>> {
    const { names } = this.shards;
    return new Map(
      await Promise.all(names.map(async (name) => [name, await this.shards.writing(name, oldestOn)] as const)),
    );
  }
}

async function oldestOn(shard: Shard): Promise<HeldBack> {
  const [row] = await shard.query<{ mayLook: boolean }>(
    `SELECT pg_has_role('pg_read_all_stats', 'USAGE') AS "mayLook"`,
  );
  // What is hidden from us would look as if there were none.
  if (!row!.mayLook) throw new Error('the mesh’s role may not see who works on the shard: prepare it again');
  const { seconds = 0, transactions = 0 } = (await oldestSnapshotAge(shard)) ?? {};
  return { seconds, transactions };
}
