import { Injectable } from '@nestjs/common';
import { context, SpanKind } from '@opentelemetry/api';
import { newId } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { about, Log, Origin } from '#observability/index.js';
import { isUnavailable, type Lease, LeaseLost, type Outcome } from '#persistence/index.js';
import type { Instance } from '../domain/instance.js';
import { policyOf } from '../domain/policy.js';
import { nextBackupAt, unsavedSince } from '../domain/schedule.js';
import { BeginBackup } from './begin-backup.js';
import { BackupSettings, Instances, type Looked, type Noted, Schedules } from './ports.js';

const lookAgainMs = 60_000;
const pageSize = 500;

/**
 * Looks at all instances each minute, and begins the backups whose time has come. It goes by what is there, never by what
 * it was told, so nothing can be missed; how many run at once on a shard and in a cell is for whoever runs them.
 */
@Injectable()
export class ScheduleBackups {
  constructor(
    private readonly instances: Instances,
    private readonly schedules: Schedules,
    private readonly begin: BeginBackup,
    private readonly outbox: Outbox,
    private readonly settings: BackupSettings,
    private readonly log: Log,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    let after: string | undefined;
    while (!lease.signal.aborted) {
      const page = await this.schedules.look(after, pageSize);
      const now = new Date();
      const changed = page.filter((one) => !isAsBefore(one, notedOf(one, now)));
      if (changed.length > 0)
        await this.outbox.transaction({}, async (tx) => {
          await lease.hold(tx);
          for (const one of changed) await this.schedules.note(tx, one.instanceId, notedOf(one, now));
        });
      for (const one of page)
        if (this.settings.schedules && isDue(one, now)) await this.tryToBackUp(lease, one.instanceId);
      if (page.length < pageSize) break;
      after = page.at(-1)!.instanceId;
    }
    return { again: lookAgainMs };
  }

  /** One of which something is not known yet keeps nobody else from being backed up. */
  private async tryToBackUp(lease: Lease, instanceId: string): Promise<void> {
    try {
      await this.backUp(lease, instanceId);
    } catch (error) {
      if (error instanceof LeaseLost || isUnavailable(error)) throw error;
      this.log.warn('a backup that is due could not be begun', { instanceId, error });
    }
  }

  /** Each in a transaction of its own: nobody waits for all of a page. */
  private async backUp(lease: Lease, instanceId: string): Promise<void> {
    const backupId = newId();
    await this.outbox.transaction({}, async (tx) => {
      await lease.hold(tx);
      // Whoever asks for one, or changes the instance, is either before us, and seen, or after us.
      const instance = await this.instances.lock(tx, instanceId);
      const looked = await this.schedules.lookAt(tx, instanceId);
      if (!instance || !looked || !isDue(looked, new Date())) return;
      await inTraceOf(instance, backupId, async (traceparent) => {
        const cause = { traceparent, correlationId: backupId, requestId: null };
        await this.begin.of(tx, instance, { backupId, why: 'scheduled', token: null, cause });
      });
    });
  }
}

/** Nobody has asked for it, so its trace begins here; told before anything is committed that points to it (decision 0010). */
async function inTraceOf(
  { instanceId, customerId }: Instance,
  backupId: string,
  work: (traceparent: string) => Promise<void>,
): Promise<void> {
  const origin = new Origin('schedule backup', { kind: SpanKind.INTERNAL, attributes: {}, always: true });
  await context.with(about({ instanceId, customerId, operationId: backupId }), async () => {
    await origin.tell();
    await work(origin.traceparent);
  });
}

function isDue(looked: Looked, now: Date): boolean {
  const { nextAt } = notedOf(looked, now);
  return nextAt !== null && nextAt <= now;
}

function notedOf(looked: Looked, now: Date): Noted {
  const { instanceId, state, begunAt, newest, savedAt, provedAt, before, quiescedUntil } = looked;
  const policy = policyOf(looked.plan);
  const unsaved = unsavedSince(before, looked);
  const knownSince = before?.knownSince ?? now;
  const quiesced = quiescedUntil !== null && Date.parse(quiescedUntil) > now.getTime();
  const nextAt = nextBackupAt({ instanceId, policy, state, quiesced, unsavedSince: unsaved, begunAt, newest });
  return {
    ...{ knownSince, savedAt, unsavedSince: unsaved, nextAt: nextAt ?? null },
    lateAt: unsaved && new Date(unsaved.getTime() + policy.rpoMs),
    // One proof may fail and be made anew before anybody is told.
    unprovedAt: savedAt && new Date((provedAt ?? knownSince).getTime() + 2 * policy.fullProofEveryMs),
  };
}

function isAsBefore({ before }: Looked, now: Noted): boolean {
  return (
    before !== undefined && JSON.stringify(Object.entries(before).sort()) === JSON.stringify(Object.entries(now).sort())
  );
}
