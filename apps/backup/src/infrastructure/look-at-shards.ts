import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { Log } from '#observability/index.js';
import { ShardsOfBackup } from './postgres-tenants.js';

/**
 * Says at once what else would be said when an instance is backed up, and then for each of a shard's instances. The service
 * goes on: other shards may be well, and one that is away now is looked at when it is needed.
 */
@Injectable()
export class LookAtShards implements OnApplicationBootstrap {
  constructor(
    private readonly shards: ShardsOfBackup,
    private readonly log: Log,
  ) {}

  onApplicationBootstrap(): void {
    void this.look();
  }

  /** Never rejects. */
  async look(): Promise<void> {
    await Promise.all(this.shards.allNames.map((name) => this.lookAt(name)));
  }

  private async lookAt(shard: string): Promise<void> {
    try {
      const missing = await this.shards.missing(shard);
      if (missing.length > 0)
        this.log.error('a shard is not prepared for backups', {
          ...{ shard, code: 'SHARD_NOT_PREPARED', missing },
          next: 'have it prepared again by an administrator (prepareShard, with a password for backups), and name it in both settings',
        });
    } catch (error) {
      this.log.warn('a shard cannot be asked whether it is prepared for backups', { shard, error });
    }
  }
}
