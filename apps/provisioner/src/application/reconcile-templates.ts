import { Injectable } from '@nestjs/common';
import { TemplatePublished } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { PublishedTemplates, TenantShards } from './ports.js';

const lookAgainMs = 15_000;

/** Tells of each template that appeared on a shard, once. The shard's catalogue is what is so; nothing else is kept. */
@Injectable()
export class ReconcileTemplates {
  constructor(
    private readonly shards: TenantShards,
    private readonly published: PublishedTemplates,
    private readonly outbox: Outbox,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    const found = await this.shards.templates();
    for (const { databaseShard, template } of found) {
      await this.outbox.transaction({}, async (ctx) => {
        await lease.hold(ctx);
        if (!(await this.published.note(ctx, databaseShard, template))) return;
        const { image, version, bundle, language, database, madeAt } = template;
        await ctx.publish(TemplatePublished, {
          databaseShard,
          template: { image, version, bundle, language, database },
          madeAt,
          catalogue: found.length,
        });
      });
    }
    return { again: lookAgainMs };
  }
}
