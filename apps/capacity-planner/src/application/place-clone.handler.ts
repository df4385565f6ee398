import { Injectable } from '@nestjs/common';
import { InstancePlaced, InstanceRefused, type PayloadOf, RestoreCompleted } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { type Beside, mayBecome } from '../domain/beside.js';
import { faultOfSlug, slugTaken } from '../domain/host-name.js';
import { cloneOf, type Specification } from '../domain/placement.js';
import type { Refusal } from './placing.js';
import { Besides, Cells, HostNames, Placements, PlannerSettings } from './ports.js';

type Clone = NonNullable<PayloadOf<typeof RestoreCompleted>['to']>;

/** A footprint holds what another instance's backup has, and an instance is to be made of it: give it its name. */
@Injectable()
export class PlaceCloneHandler extends MessageHandler<typeof RestoreCompleted> {
  constructor(
    private readonly placements: Placements,
    private readonly besides: Besides,
    private readonly hosts: HostNames,
    private readonly cells: Cells,
    private readonly settings: PlannerSettings,
  ) {
    super();
  }

  async handle(restored: PayloadOf<typeof RestoreCompleted>, ctx: ConsumeContext): Promise<void> {
    const { mode, to, footprintId, instanceId: sourceId } = restored;
    if (mode !== 'clone' || !to) return;
    const known = await this.placements.lock(ctx, to.instanceId);
    const beside = await this.besides.lock(ctx, footprintId);
    if (known?.footprintId === footprintId) return;
    const source = await this.placements.get(ctx, sourceId);
    if (!source || !beside) throw new TerminalError(`of footprint ${footprintId} or its source nothing is known here`);
    if (known) return await this.refuse(ctx, to, sameIdOtherBody);
    if (!mayBecome(beside, sourceId)) return await this.refuse(ctx, to, notFree);
    const slug = faultOfSlug(to.slug);
    if (slug) return await this.refuse(ctx, to, slug);
    const host = `${to.slug}.${this.settings.domain}`;
    if (!(await this.hosts.take(ctx, host, to.instanceId))) return await this.refuse(ctx, to, slugTaken);
    await this.place(ctx, beside, cloneOf(source.specification, to, beside.plan!.name), host);
  }

  private async place(ctx: ConsumeContext, beside: Beside, specification: Specification, host: string): Promise<void> {
    const { footprintId, cell: id, databaseShard } = beside;
    const { instanceId } = specification;
    const { correlationId: requestId, traceparent } = ctx.message;
    const plan = beside.plan!;
    await this.besides.save(ctx, { ...beside, instanceId, state: 'lived-in' });
    await this.placements.save(ctx, {
      instanceId,
      requestId,
      specification,
      state: 'placed',
      waitsFor: null,
      host,
      plan,
      footprintId,
      cell: id,
      databaseShard,
      traceparent: traceparent ?? null,
      correlationId: requestId,
    });
    const { namespace } = (await this.cells.all(ctx)).find((one) => one.id === id)!;
    await ctx.publish(InstancePlaced, {
      instanceId,
      requestId,
      specification,
      footprintId,
      claim: 'footprint',
      cell: id,
      namespace,
      databaseShard,
      template: beside.wish!.template,
      host,
      plan,
      reasons: [`its data was brought to cell ${id} on shard ${databaseShard} before`],
    });
  }

  /** By the id of what began it all: who asked for the restore knows that one. */
  private async refuse(ctx: ConsumeContext, { instanceId }: Clone, refusal: Refusal): Promise<void> {
    const requestId = ctx.message.correlationId;
    await ctx.publish(InstanceRefused, { requestId, instanceId, fault: 'user', ...refusal });
  }
}

const sameIdOtherBody: Refusal = {
  code: 'same-id-other-body',
  message: 'this instanceId is one of another instance; a new instance needs a new id',
};
const notFree: Refusal = {
  code: 'footprint-not-free',
  message: 'the footprint is not there for a clone of this instance any more',
};
