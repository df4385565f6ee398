import { Injectable } from '@nestjs/common';
import { BackupRequested, HostReleaseRequested, InstanceStateChanged, newId } from '#contracts/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import type { Transaction } from '#persistence/index.js';
import type { Failure } from '../domain/failure.js';
import { hasHost, type Instance } from '../domain/instance.js';
import { moved, takenBack, withoutWhatFailed } from '../domain/moving.js';
import type { Operation } from '../domain/operation.js';
import { switched, withoutClone } from '../domain/switching.js';
import { Instances, LifecycleSettings, Operations } from './ports.js';
import { causeOf, sayDone, sayFailed, sayRefused, stateFact } from './telling.js';

/** Brings operations to their ends, each with its answers. All of it in the caller's transaction, under the instance's lock. */
@Injectable()
export class EndOperation {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly outbox: Outbox,
    private readonly settings: LifecycleSettings,
  ) {}

  /** It came to its good end. */
  async done(tx: Transaction, instance: Instance, operation: Operation): Promise<void> {
    const ended = await this.withWhatItMeans(tx, instance, operation);
    await this.instances.save(tx, ended);
    // First, so that who hears the answer finds the state that it speaks of.
    const said = this.outbox.within(tx, causeOf(operation));
    await this.tellState(said, ended);
    if (operation.kind === 'rename') await this.giveHostsBack(said, ended, operation, 'it was taken away');
    await this.answer(tx, operation, (ctx, one) => sayDone(ctx, this.settings, ended, one));
  }

  /** It is so already: answered, and nothing is done. */
  async alreadySo(tx: Transaction, instance: Instance, operation: Operation): Promise<void> {
    await this.answer(tx, operation, (ctx, one) => sayDone(ctx, this.settings, instance, one));
  }

  /** It was begun and taken back. */
  async failed(tx: Transaction, instance: Instance, operation: Operation, failure: Failure): Promise<void> {
    const ended = withoutClone(withoutWhatFailed(instance, operation), operation.progress.rehearsal, new Date());
    await this.instances.save(tx, ended);
    const said = this.outbox.within(tx, causeOf(operation));
    await this.tellState(said, ended);
    await this.giveHostsBack(said, ended, operation, 'its rename failed');
    await this.answer(tx, operation, (ctx, one) => sayFailed(ctx, one, failure));
  }

  async refused(tx: Transaction, operation: Operation, refusal: Failure): Promise<void> {
    await this.answer(tx, operation, (ctx, one) => sayRefused(ctx, one, refusal));
  }

  /** Ended where it is, because another one goes before it. What it has done so far is for that one to take back. */
  async overtaken(tx: Transaction, instance: Instance, operation: Operation, by: Operation): Promise<void> {
    const failure: Failure = {
      code: 'OVERTAKEN',
      fault: 'user',
      message: `${by.requestedBy} asked for ${by.kind} meanwhile: ${by.reason}`,
    };
    const { before } = operation.progress;
    // What was tried is not what it has: the next one to apply its footprint applies what it had.
    if (before) await this.instances.save(tx, { ...instance, live: takenBack(instance, before) });
    await this.answer(tx, operation, (ctx, one) => sayFailed(ctx, one, failure));
  }

  async tellState(
    ctx: PublishContext,
    instance: Instance,
    active?: Pick<Operation, 'operationId' | 'kind'>,
  ): Promise<void> {
    await ctx.publish(InstanceStateChanged, stateFact(this.settings.meshName, instance, active));
  }

  /** What the planner holds and the instance has not: for a rename that failed, or since one that took domains away. */
  private async giveHostsBack(
    ctx: PublishContext,
    { instanceId, live }: Instance,
    { input, progress }: Operation,
    reason: string,
  ): Promise<void> {
    const { host, before, reservation = progress.asked, answered, fellThrough } = progress;
    // Refused, it holds nothing; and a domain does not rest, so one that may still lead here stays reserved.
    const asked = reservation && typeof answered !== 'object' && !fellThrough ? (input.customDomains ?? []) : [];
    const unused = [
      ...(host ? [{ host }] : []),
      ...asked.map((one) => ({ host: one, reservation: reservation! })),
      ...(before?.customDomains ?? []),
    ].filter((one) => !hasHost(live, one.host));
    for (const one of unused) await ctx.publish(HostReleaseRequested, { instanceId, ...one, reason });
  }

  /** The one and those that are answered with it. */
  private async answer(
    tx: Transaction,
    operation: Operation,
    say: (ctx: PublishContext, one: Operation) => Promise<void>,
  ): Promise<void> {
    for (const one of [operation, ...(await this.operations.mergedInto(tx, operation.operationId))]) {
      await this.operations.save(tx, { ...one, status: 'ended' });
      await say(this.outbox.within(tx, causeOf(one)), one);
    }
  }

  private async withWhatItMeans(tx: Transaction, instance: Instance, operation: Operation): Promise<Instance> {
    const { kind, input, operationId } = operation;
    const until = new Date(Date.now() + this.settings.keepMs).toISOString();
    switch (kind) {
      case 'start':
        return moved({ ...instance, ownerWants: 'running' }, kind, 'started');
      case 'stop':
        return moved({ ...instance, ownerWants: 'stopped' }, kind, 'requested');
      case 'suspend':
        return moved({ ...instance, suspension: { why: input.why! } }, kind, input.why!);
      case 'resume':
        return { ...moved(instance, kind, 'resumed'), suspension: null };
      case 'restart':
        return moved(instance, kind, 'restarted');
      case 'resize':
        return { ...instance, reason: instance.state === 'running' ? 'resized' : instance.reason };
      case 'rename':
        return { ...instance, reason: instance.state === 'running' ? 'renamed' : instance.reason };
      case 'upgrade': {
        if (input.rehearse) return withoutClone(instance, operation.progress.rehearsal, new Date());
        const { database, image } = operation.progress.before!;
        return { ...moved(instance, 'release', 'upgraded'), kept: { database, image, until } };
      }
      case 'quiesce': {
        const { purpose, deadline } = input;
        const ran = operation.progress.from === 'running';
        return { ...instance, quiesce: { token: newId(), purpose: purpose!, deadline: deadline!, operationId, ran } };
      }
      case 'release': {
        const released = { ...moved(instance, kind, 'released'), quiesce: null };
        return input.footprintId ? switched(released, operation.progress.before!, until) : released;
      }
      case 'switch-back':
        return switched(moved(instance, 'release', 'switched-back'), operation.progress.before!, until);
      case 'terminate':
        return await this.withFinalBackup(tx, instance, operation);
      case 'cancel-termination':
        return { ...moved(instance, kind, 'termination-cancelled'), termination: null };
    }
  }

  /** Whatever was Ready has data, and is not destroyed without a proof that they are kept. */
  private async withFinalBackup(tx: Transaction, instance: Instance, operation: Operation): Promise<Instance> {
    const { instanceId, everReady, termination } = instance;
    if (!everReady) return instance;
    const backupId = newId();
    const ctx = this.outbox.within(tx, causeOf(operation));
    await ctx.publish(BackupRequested, { instanceId, backupId, why: 'final' });
    return { ...instance, reason: 'waits-for-final-backup', termination: { ...termination!, finalBackupId: backupId } };
  }
}
