import { Injectable } from '@nestjs/common';
import {
  BackupRequested,
  HostReservationRequested,
  InstanceProvisioningCancelRequested,
  newId,
  PlacementChangeRequested,
  RestoreRequested,
} from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/deadline.js';
import type { PublishContext } from '#messaging/index.js';
import type { Lease } from '#persistence/index.js';
import type { Instance } from '../domain/instance.js';
import { namesToReserve, type Operation, type Progress, type Stage } from '../domain/operation.js';
import { lackOf } from '../domain/preflight.js';
import { ChangeOperation } from './change-operation.js';
import type { StageOutcome } from './footprint-stages.js';
import { LookForRoom } from './look-for-room.js';
import { Operations } from './ports.js';

const askProvisionerAgainMs = 30_000;

/** The stages in which another service has the word. What it answers its fact's handler notes. */
@Injectable()
export class AskOthers {
  constructor(
    private readonly operations: Operations,
    private readonly changes: ChangeOperation,
    private readonly room: LookForRoom,
  ) {}

  async ask(
    lease: Lease,
    instance: Instance,
    operation: Operation,
    stage: Extract<Stage, 'room' | 'host' | 'backup' | 'clone' | 'cancel'>,
  ): Promise<StageOutcome> {
    const { instanceId, input } = operation;
    const names = namesToReserve(instance.live, input);
    switch (stage) {
      case 'room':
        return await this.once(lease, operation, 'RoomAsked', 'the planner was asked for room', async (ctx) => ({
          asked: await ctx.publish(PlacementChangeRequested, { instanceId, plan: input.plan! }),
        }));
      case 'host':
        if (!names) return { kind: 'done' };
        return await this.once(
          lease,
          operation,
          'HostAsked',
          'the planner was asked for its new names',
          async (ctx) => ({
            asked: await ctx.publish(HostReservationRequested, { instanceId, ...names }),
          }),
        );
      case 'backup':
        return await this.backup(lease, instance, operation);
      case 'clone':
        return await this.clone(lease, operation);
      case 'cancel':
        return await this.cancel(lease, instance, operation);
    }
  }

  private async once(
    lease: Lease,
    operation: Operation,
    reason: string,
    message: string,
    ask: (ctx: PublishContext) => Promise<Progress>,
  ): Promise<StageOutcome> {
    const { asked, answered } = operation.progress;
    if (answered === 'yes') return { kind: 'done' };
    if (answered) return { kind: 'failed', failure: answered };
    if (!asked) await this.note(lease, operation, ask);
    return { kind: 'waits', reason, message, acted: !asked };
  }

  /** Nobody is asked for a backup of what could not be brought to its end. */
  private async backup(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    const { instanceId, progress } = operation;
    const preflight = progress.asked ? [] : await this.room.look(instance);
    const lack = lackOf(preflight);
    if (lack) return { kind: 'failed', failure: lack, progress: { preflight } };
    return await this.once(lease, operation, 'BackupAsked', 'its backup is being made', async (ctx) => {
      const backupId = newId();
      const asked = await ctx.publish(BackupRequested, { instanceId, backupId, why: 'pre-upgrade' });
      return { preflight, backupId, asked };
    });
  }

  /** From the backup that was made just before. */
  private async clone(lease: Lease, operation: Operation): Promise<StageOutcome> {
    const { instanceId, progress, input } = operation;
    const { restored, restoreId } = progress;
    if (!restoreId) {
      await this.note(lease, operation, async (ctx) => {
        const wanted = { restoreId: newId(), instanceId, backupId: progress.backupId!, mode: 'clone' } as const;
        const reason = `a rehearsal of the upgrade to ${input.to}`;
        await ctx.publish(RestoreRequested, { ...wanted, requestedBy: 'lifecycle', reason });
        return { restoreId: wanted.restoreId };
      });
      return { kind: 'waits', reason: 'CloneAsked', message: 'a clone of it is being made', acted: true };
    }
    if (!restored) return { kind: 'waits', reason: 'CloneAsked', message: 'a clone of it is being made', acted: false };
    return 'code' in restored ? { kind: 'failed', failure: restored } : { kind: 'done' };
  }

  /** Answered by exactly one of two facts, that it was cancelled or that it is Ready; asked again until one is heard. */
  private async cancel(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    if (instance.everReady || instance.state === 'purging') return { kind: 'done' };
    const { instanceId, reason, progress } = operation;
    const again = Date.now() - (progress.askedAt ?? 0) > askProvisionerAgainMs;
    if (again)
      await this.note(lease, operation, async (ctx) => ({
        asked: await ctx.publish(InstanceProvisioningCancelRequested, { instanceId, reason }),
        askedAt: Date.now(),
      }));
    const message = 'the provisioner was asked to stop making it';
    return { kind: 'waits', reason: 'CancelAsked', message, acted: again };
  }

  private async note(
    lease: Lease,
    operation: Operation,
    ask: (ctx: PublishContext) => Promise<Progress>,
  ): Promise<void> {
    await this.changes.make(lease, operation, async (ctx, _, current) => {
      const progress = { ...current.progress, ...(await ask(ctx)) };
      await this.operations.save(ctx, { ...current, progress, ...timeSpentAtFirst(new Date()) });
    });
  }
}
