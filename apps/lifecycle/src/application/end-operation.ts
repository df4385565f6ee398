import { Injectable } from '@nestjs/common';
import { BackupRequested, type InstanceState, InstanceStateChanged, newId } from '#contracts/index.js';
import { Outbox, type PublishContext } from '#messaging/index.js';
import type { Transaction } from '#persistence/index.js';
import type { Instance } from '../domain/instance.js';
import type { Failure, Operation } from '../domain/operation.js';
import { nextState, type Trigger } from '../domain/state-table.js';
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
    await this.tellState(this.outbox.within(tx, causeOf(operation)), ended);
    await this.answer(tx, operation, (ctx, one) => sayDone(ctx, this.settings.meshName, ended, one));
  }

  /** It is so already: answered, and nothing is done. */
  async alreadySo(tx: Transaction, instance: Instance, operation: Operation): Promise<void> {
    await this.answer(tx, operation, (ctx, one) => sayDone(ctx, this.settings.meshName, instance, one));
  }

  /** It was begun and taken back. */
  async failed(tx: Transaction, instance: Instance, operation: Operation, failure: Failure): Promise<void> {
    const ended = withoutWhatFailed(instance, operation);
    await this.instances.save(tx, ended);
    await this.tellState(this.outbox.within(tx, causeOf(operation)), ended);
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
      case 'quiesce': {
        const { purpose, deadline } = input;
        const ran = operation.progress.from === 'running';
        return { ...instance, quiesce: { token: newId(), purpose: purpose!, deadline: deadline!, operationId, ran } };
      }
      case 'release':
        return { ...moved(instance, kind, 'released'), quiesce: null };
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

/** In the state that the table says; an instance for which it says none stays as it is. */
export function moved(instance: Instance, on: Trigger, reason: string): Instance {
  const to = nextState(instance, on);
  return to === undefined ? instance : inState(instance, to, wordFor(instance, to, reason));
}

export function inState(instance: Instance, to: InstanceState, reason: string): Instance {
  if (to === instance.state) return { ...instance, reason };
  return { ...instance, state: to, previous: instance.state, reason, since: new Date() };
}

/** Who is suspended is so for the reason of the suspension, whatever brought it back there. */
function wordFor({ suspension }: Instance, to: InstanceState, reason: string): string {
  return to === 'suspended' && suspension ? suspension.why : reason;
}

/** What is so after one that failed was taken back. */
function withoutWhatFailed(instance: Instance, { kind, progress }: Operation): Instance {
  const { before, fellThrough } = progress;
  const restored = before ? { ...instance, live: takenBack(instance, before) } : instance;
  const reason = `${kind}-failed`;
  const standsStill = (one: Instance): Instance => ({ ...moved(one, 'not running', reason), ownerWants: 'stopped' });
  switch (kind) {
    case 'start':
    case 'restart':
      return standsStill(restored);
    case 'resume':
      return standsStill({ ...restored, suspension: null });
    case 'release':
      return standsStill({ ...restored, quiesce: null });
    case 'cancel-termination':
      return standsStill({ ...restored, termination: null });
    case 'resize':
      return fellThrough ? standsStill(restored) : restored;
    case 'quiesce':
      return fellThrough ? standsStill(restored) : moved(restored, 'release', reason);
    case 'terminate': {
      const kept = { ...restored, termination: null };
      return fellThrough ? standsStill(kept) : moved(kept, 'cancel-termination', reason);
    }
    case 'stop':
    case 'suspend':
      return { ...restored, reason };
  }
}

/** As it was, but for what cannot be taken back: a volume stays as large as it is, and a version is never made twice. */
export function takenBack({ live }: Instance, before: Instance['live']): Instance['live'] {
  return { ...before, storageBytes: live.storageBytes, lastSecretVersion: live.lastSecretVersion };
}
