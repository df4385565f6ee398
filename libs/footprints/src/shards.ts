import { missingPreparation, Shard, TenantDatabaseError } from '#tenant-databases/index.js';
import { Obstacle, reasonOfShard } from './obstacle.js';

/** The database shards a service was told of, by name. */
export class Shards {
  private readonly shards: ReadonlyMap<string, Shard>;
  private readonly prepared = new Set<string>();

  /** @param urls of the mesh's role on each. */
  constructor(urls: readonly { readonly name: string; readonly url: string }[], meshName: string) {
    this.shards = new Map(urls.map(({ name, url }) => [name, new Shard(name, url, meshName)] as const));
  }

  get all(): readonly Shard[] {
    return [...this.shards.values()];
  }

  /** Throws an Obstacle for a name that nobody has told us of. */
  named(name: string): Shard {
    const shard = this.shards.get(name);
    if (!shard) throw new Obstacle('SHARD_UNKNOWN', `database shard ${name} is not in MESH_SHARD_URLS`);
    return shard;
  }

  /** What `work` says, or an Obstacle where it is known what is in its way. */
  async on<T>(name: string, work: (shard: Shard) => Promise<T>): Promise<T> {
    const shard = this.named(name);
    try {
      return await work(shard);
    } catch (error) {
      const reason = reasonOfShard(error);
      if (!reason) throw error;
      throw new Obstacle(reason, `database shard ${shard.name}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Looked at until it was right once; who takes rights away later is not what is looked for. */
  async expectPrepared(shard: Shard): Promise<void> {
    if (this.prepared.has(shard.name)) return;
    const missing = await missingPreparation(shard);
    if (missing.length > 0)
      throw new TenantDatabaseError(
        'SHARD_NOT_PREPARED',
        `${missing.join('; ')}: an administrator has to prepare it again`,
        true,
      );
    this.prepared.add(shard.name);
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((shard) => shard.close()));
  }
}
