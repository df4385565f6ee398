import { Injectable } from '@nestjs/common';
import { FootprintReady, FootprintRemovalRefused, FootprintRemoved, type PayloadOf } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { previousFootprintOf } from '../domain/instance.js';
import { EndOperation } from './end-operation.js';
import { Footprints, Instances, Operations } from './ports.js';

/** The provisioner's word about footprints that are no instance's yet, or any more: one short handler per fact. */

/** An instance can be switched to these, and an upgrade rehearsed in a clone; spares and proofs are somebody else's business. */
const purposes: ReadonlySet<string> = new Set(['restore', 'move', 'rebuild', 'clone']);
/** After a removal was refused. */
const removeAgainMs = 60_000;

@Injectable()
export class HearOfFootprintHandler extends MessageHandler<typeof FootprintReady> {
  constructor(private readonly footprints: Footprints) {
    super();
  }

  async handle(ready: PayloadOf<typeof FootprintReady>, ctx: ConsumeContext): Promise<void> {
    if (purposes.has(ready.purpose)) await this.footprints.noteReady(ctx, ready);
  }
}

@Injectable()
export class HearOfNoFootprintHandler extends MessageHandler<typeof FootprintRemoved> {
  constructor(
    private readonly footprints: Footprints,
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly end: EndOperation,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ footprintId, purpose }: PayloadOf<typeof FootprintRemoved>, ctx: ConsumeContext): Promise<void> {
    if (purpose === 'instance' || purposes.has(purpose)) await this.footprints.noteRemoved(ctx, footprintId);
    const instance = await this.instances.lockFormerDweller(ctx, footprintId);
    if (!instance) return;
    const formerFootprints = instance.formerFootprints.filter(({ live }) => live.footprintId !== footprintId);
    const without = { ...instance, formerFootprints };
    await this.instances.save(ctx, without);
    if (previousFootprintOf(without) !== previousFootprintOf(instance)) {
      const open = await this.operations.open(ctx, instance.instanceId);
      const active = open.find(({ status }) => status === 'active');
      await this.end.tellState(ctx, without, active);
    }
    // Its purge may wait for that.
    await this.jobs.ask(ctx, { kind: 'instance', key: instance.instanceId });
  }
}

/** It is asked for again: what was left is never forgotten. */
@Injectable()
export class HearOfKeptFootprintHandler extends MessageHandler<typeof FootprintRemovalRefused> {
  constructor(
    private readonly instances: Instances,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ footprintId }: PayloadOf<typeof FootprintRemovalRefused>, ctx: ConsumeContext): Promise<void> {
    const instance = await this.instances.lockFormerDweller(ctx, footprintId);
    if (!instance) return;
    const until = new Date(Date.now() + removeAgainMs).toISOString();
    const formerFootprints = instance.formerFootprints.map((one) =>
      one.live.footprintId === footprintId && one.removal ? { ...one, removal: 'due' as const, until } : one,
    );
    await this.instances.save(ctx, { ...instance, formerFootprints });
    await this.jobs.ask(ctx, { kind: 'instance', key: instance.instanceId, inMs: removeAgainMs });
  }
}
