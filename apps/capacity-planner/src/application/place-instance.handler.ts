import { Injectable } from '@nestjs/common';
import { InstanceRefused, InstanceRequested, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { findPlan, planNames } from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import { faultOfSlug, slugTaken } from '../domain/host-name.js';
import { type Placement, type Specification, sameWish } from '../domain/placement.js';
import { templatesFor } from '../domain/template-choice.js';
import { lookAgainMs, PlacingService, type Refusal } from './placing.js';
import { HostNames, Placements, PlannerSettings, Templates } from './ports.js';

/** Somebody wants an instance: refuse it with a reason, or hold its host name and find it a place. */
@Injectable()
export class PlaceInstanceHandler extends MessageHandler<typeof InstanceRequested> {
  constructor(
    private readonly placements: Placements,
    private readonly hosts: HostNames,
    private readonly templates: Templates,
    private readonly placing: PlacingService,
    private readonly jobs: JobQueue,
    private readonly settings: PlannerSettings,
  ) {
    super();
  }

  async handle(specification: PayloadOf<typeof InstanceRequested>, ctx: ConsumeContext): Promise<void> {
    const { instanceId } = specification;
    const known = await this.placements.lock(ctx, instanceId);
    if (known) {
      // The same request again has been answered, or will be when there is a place.
      if (sameWish(known.specification, specification)) return;
      return await this.refuse(ctx, instanceId, {
        code: 'same-id-other-body',
        message: 'this instanceId was requested before with other content; a new instance needs a new id',
      });
    }

    const host = `${specification.slug}.${this.settings.domain}`;
    const refusal = (await this.faultOf(ctx, specification)) ?? (await this.claimHost(ctx, host, instanceId));
    if (refusal) return await this.refuse(ctx, instanceId, refusal);

    const waiting: Placement = {
      instanceId,
      requestId: ctx.message.id,
      specification,
      state: 'waiting',
      waitsFor: null,
      host,
      plan: null,
      footprintId: null,
      cell: null,
      databaseShard: null,
      traceparent: ctx.message.traceparent ?? null,
      correlationId: ctx.message.correlationId,
    };
    await this.placements.save(ctx, waiting);
    const lack = await this.placing.placeOrDefer(ctx, waiting);
    if (lack) await this.jobs.ask(ctx, { kind: 'waiting', key: 'placements', inMs: lookAgainMs });
  }

  private async faultOf(ctx: ConsumeContext, wanted: Specification): Promise<Refusal | undefined> {
    const slug = faultOfSlug(wanted.slug);
    if (slug) return slug;
    if (!findPlan(wanted.plan))
      return { code: 'unknown-plan', message: `there is no such plan; there is ${planNames().join(', ')}` };
    // As long as templates may be missing from our list, one that is not found is waited for. Asked first: the last one
    // may come to be known between the two questions.
    const complete = await this.templates.complete(ctx);
    const choice = templatesFor(wanted, await this.templates.all(ctx));
    return 'code' in choice && complete ? choice : undefined;
  }

  private async claimHost(ctx: ConsumeContext, host: string, instanceId: string): Promise<Refusal | undefined> {
    return (await this.hosts.take(ctx, host, instanceId)) ? undefined : slugTaken;
  }

  private async refuse(ctx: ConsumeContext, instanceId: string, refusal: Refusal): Promise<void> {
    await ctx.publish(InstanceRefused, { requestId: ctx.message.id, instanceId, fault: 'user', ...refusal });
  }
}
