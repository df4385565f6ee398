import { Injectable } from '@nestjs/common';
import { type PayloadOf, RestoreCompleted, RestoreFailed, RestoreRefused } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import type { Operation, Progress } from '../domain/operation.js';
import { targetOf, withoutClone } from '../domain/switching.js';
import { Footprints, Instances, Operations } from './ports.js';

/** The backup service's word about clones in which upgrades are rehearsed: one short handler per fact. */

@Injectable()
export class HearOfCloneHandler extends MessageHandler<typeof RestoreCompleted> {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(made: PayloadOf<typeof RestoreCompleted>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, restoreId, footprintId } = made;
    const instance = await this.instances.lock(ctx, instanceId);
    const rehearsal = await this.operations.rehearsalOf(ctx, restoreId);
    if (!instance || !rehearsal) return;
    const { status, progress } = rehearsal;
    if (progress.restored && 'footprintId' in progress.restored) return;
    // Facts of two services come in any order; then this one comes again.
    const footprint = await this.footprints.get(ctx, footprintId);
    if (!footprint) throw new Error(`nobody has told yet where the clone ${footprintId} is`);
    if (footprint.removed) return;
    const clone = targetOf(instance, footprintId, footprint);
    if (status === 'active' && !progress.failure)
      return await answer(this.operations, this.jobs, ctx, rehearsal, { restored: clone });
    // Whoever waited for it has given up.
    await this.instances.save(ctx, withoutClone(instance, clone, new Date()));
    await this.jobs.ask(ctx, { kind: 'instance', key: instanceId });
  }
}

@Injectable()
export class HearOfNoCloneHandler extends MessageHandler<typeof RestoreFailed> {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(failed: PayloadOf<typeof RestoreFailed>, ctx: ConsumeContext): Promise<void> {
    await goWithoutClone(this.instances, this.operations, this.jobs, ctx, failed);
  }
}

@Injectable()
export class HearOfRefusedCloneHandler extends MessageHandler<typeof RestoreRefused> {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(refused: PayloadOf<typeof RestoreRefused>, ctx: ConsumeContext): Promise<void> {
    await goWithoutClone(this.instances, this.operations, this.jobs, ctx, refused);
  }
}

async function goWithoutClone(
  instances: Instances,
  operations: Operations,
  jobs: JobQueue,
  ctx: ConsumeContext,
  { instanceId, restoreId, code, fault, message }: PayloadOf<typeof RestoreFailed> | PayloadOf<typeof RestoreRefused>,
): Promise<void> {
  await instances.lock(ctx, instanceId);
  const rehearsal = await operations.rehearsalOf(ctx, restoreId);
  if (rehearsal?.status !== 'active' || rehearsal.progress.restored) return;
  await answer(operations, jobs, ctx, rehearsal, {
    restored: { code: 'CLONE_FAILED', fault, message: `${code}: ${message}` },
  });
}

async function answer(
  operations: Operations,
  jobs: JobQueue,
  ctx: ConsumeContext,
  rehearsal: Operation,
  answered: Pick<Progress, 'restored'>,
): Promise<void> {
  await operations.save(ctx, { ...rehearsal, progress: { ...rehearsal.progress, ...answered } });
  await jobs.ask(ctx, { kind: 'instance', key: rehearsal.instanceId, priority: 'interactive' });
}
