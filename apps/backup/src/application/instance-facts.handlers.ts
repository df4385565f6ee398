import { Injectable } from '@nestjs/common';
import {
  FootprintReady,
  InstancePlaced,
  InstancePurgeApproved,
  InstanceQuiesced,
  InstanceReleased,
  InstanceStateChanged,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import type { Instance } from '../domain/instance.js';
import { Backups, Instances } from './ports.js';
import { NoteAnswer } from './restore-facts.handlers.js';

/** One short handler per fact: each says what is known of an instance from then on. */

/** Facts of two services come in any order: who is told of an instance before it was placed tries again. */
async function placed(instances: Instances, ctx: ConsumeContext, instanceId: string): Promise<Instance> {
  const instance = await instances.lock(ctx, instanceId);
  if (!instance) throw new Error(`instance ${instanceId} is not known yet`);
  return instance;
}

@Injectable()
export class KnowInstanceHandler extends MessageHandler<typeof InstancePlaced> {
  constructor(private readonly instances: Instances) {
    super();
  }

  async handle(fact: PayloadOf<typeof InstancePlaced>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, specification, footprintId, cell, namespace, databaseShard, template, plan } = fact;
    if (await this.instances.lock(ctx, instanceId)) return;
    await this.instances.save(ctx, {
      ...{ instanceId, customerId: specification.customerId, plan },
      placed: { footprintId, cell, namespace, databaseShard, template },
      ...{ state: null, since: null, live: null, quiesce: null },
    });
  }
}

@Injectable()
export class FollowInstanceHandler extends MessageHandler<typeof InstanceStateChanged> {
  constructor(
    private readonly instances: Instances,
    private readonly backups: Backups,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(fact: PayloadOf<typeof InstanceStateChanged>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, state, since, plan, footprintId, database, volumeClaim, image } = fact;
    const instance = await placed(this.instances, ctx, instanceId);
    const live = { footprintId, database, volumeClaim, image };
    await this.instances.save(ctx, { ...instance, state, since: new Date(since), plan, live });
    // Nobody says of the footprint that an instance ended in that it was removed.
    if (state === 'terminated') await this.instances.forgetFootprint(ctx, footprintId);
    if (state === instance.state) return;
    // Some of them may begin now, and some will have nothing to begin with.
    for (const { backupId } of await this.backups.openOf(ctx, instanceId))
      await this.jobs.ask(ctx, { kind: 'backup', key: backupId });
  }
}

/** Whoever has asked for it works on it undisturbed; it may be a restore of ours. */
@Injectable()
export class StandBackHandler extends MessageHandler<typeof InstanceQuiesced> {
  constructor(
    private readonly instances: Instances,
    private readonly note: NoteAnswer,
  ) {
    super();
  }

  async handle(fact: PayloadOf<typeof InstanceQuiesced>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, token, deadline } = fact;
    const instance = await placed(this.instances, ctx, instanceId);
    await this.instances.save(ctx, { ...instance, quiesce: { token, deadline } });
    await this.note.toOperation(ctx, fact, (asked) => (asked === 'quiesce' ? { token } : undefined));
  }
}

@Injectable()
export class GoOnHandler extends MessageHandler<typeof InstanceReleased> {
  constructor(
    private readonly instances: Instances,
    private readonly backups: Backups,
    private readonly jobs: JobQueue,
    private readonly note: NoteAnswer,
  ) {
    super();
  }

  async handle(fact: PayloadOf<typeof InstanceReleased>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, token } = fact;
    const instance = await placed(this.instances, ctx, instanceId);
    if (instance.quiesce?.token === token) await this.instances.save(ctx, { ...instance, quiesce: null });
    // Also when the deadline has passed before anybody asked.
    await this.note.toHolder(ctx, fact);
    for (const { backupId } of await this.backups.openOf(ctx, instanceId))
      await this.jobs.ask(ctx, { kind: 'backup', key: backupId });
  }
}

/** A footprint that stands beside an instance: it may be where the instance lives tomorrow. */
@Injectable()
export class KnowFootprintHandler extends MessageHandler<typeof FootprintReady> {
  constructor(
    private readonly instances: Instances,
    private readonly note: NoteAnswer,
  ) {
    super();
  }

  async handle(fact: PayloadOf<typeof FootprintReady>, ctx: ConsumeContext): Promise<void> {
    // A spare's place stands in the fact that places an instance in it.
    if (fact.purpose === 'spare') return;
    const { plan: _, sourceInstanceId: __, ...made } = fact;
    await this.instances.saveFootprint(ctx, made);
    await this.note.toFootprint(ctx, made.footprintId, () => ({ footprint: made }));
  }
}

/** Its volume will be destroyed; a snapshot that is left would keep it. */
@Injectable()
export class ClearSnapshotsHandler extends MessageHandler<typeof InstancePurgeApproved> {
  constructor(
    private readonly instances: Instances,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(approved: PayloadOf<typeof InstancePurgeApproved>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, footprintId, approvalId } = approved;
    const { placed: first } = await placed(this.instances, ctx, instanceId);
    const place = footprintId === first.footprintId ? first : await this.instances.footprint(footprintId);
    if (!place) throw new Error(`footprint ${footprintId} is not known yet`);
    const { traceparent, correlationId } = ctx.message;
    await this.instances.savePurge(ctx, {
      ...{ approvalId, instanceId, footprintId, namespace: place.namespace },
      ...{ traceparent: traceparent ?? null, correlationId },
    });
    await this.jobs.ask(ctx, { kind: 'snapshots', key: approvalId, traceparent });
  }
}
