import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from './database.js';

/** Lower runs first. Interactive: somebody waits for it; bulk: nobody will notice a minute. */
export const priorities = { interactive: 0, normal: 5, bulk: 9 } as const;
export type Priority = keyof typeof priorities;

/** The lease was taken by somebody else or ended. Whoever gets this must not touch the world any more. */
export class LeaseLost extends Error {
  constructor(kind: string, key: string) {
    super(`the lease on ${kind} ${key} is lost: another worker goes on with it`);
    this.name = 'LeaseLost';
  }
}

export interface ClaimedJob {
  readonly kind: string;
  readonly key: string;
  /** Grows with every claim of any job. Whoever holds the highest one of a job is the one who may act. */
  readonly fence: string;
  /** How often it was claimed since it last came to an end, this time included. */
  readonly attempt: number;
  readonly wanted: string;
  readonly traceparent: string | null;
}

/**
 * The durable queue of reconcilers: one row per (kind, key), however often it is asked for. Asking for a job that runs
 * just now makes it run once more afterwards, so no change is missed. A worker holds a lease with a fencing token; one
 * that was paused and wakes up after its lease was taken finds that out before it can do harm.
 */
@Injectable()
export class JobQueue {
  /** Set by the worker: there may be something to do. */
  onAsked: () => void = () => {};

  constructor(private readonly database: Database) {}

  /** Part of the caller's transaction: the job exists exactly when what asked for it is committed. */
  async ask(
    tx: Transaction,
    job: { kind: string; key: string; priority?: Priority; traceparent?: string | undefined; inMs?: number },
  ): Promise<void> {
    await tx.query(
      `INSERT INTO job (kind, key, priority, traceparent, due_at)
       VALUES ($1, $2, $3, $4, now() + $5 * interval '1 millisecond')
       ON CONFLICT (kind, key) DO UPDATE SET
         wanted = job.wanted + 1,
         due_at = least(job.due_at, excluded.due_at),
         priority = least(job.priority, excluded.priority),
         traceparent = coalesce(excluded.traceparent, job.traceparent)`,
      [job.kind, job.key, priorities[job.priority ?? 'normal'], job.traceparent ?? null, job.inMs ?? 0],
    );
    tx.afterCommit(() => this.onAsked());
  }

  /** Makes a waiting job due now; does nothing when there is none. For watches: they say that it is worth a look. */
  async hurry(kind: string, key: string): Promise<void> {
    await this.database.query(
      `UPDATE job SET wanted = wanted + 1, due_at = least(due_at, now()) WHERE kind = $1 AND key = $2`,
      [kind, key],
    );
    this.onAsked();
  }

  async claim(kinds: readonly string[], holder: string, leaseMs: number, limit: number): Promise<ClaimedJob[]> {
    return await this.database.query<ClaimedJob>(
      `UPDATE job SET lease_holder = $1, lease_until = now() + $2 * interval '1 millisecond',
         fence = nextval('job_fence'), attempt = attempt + 1
       WHERE (kind, key) IN (
         SELECT kind, key FROM job
         WHERE kind = ANY($3) AND due_at <= now() AND (lease_until IS NULL OR lease_until < now())
         ORDER BY priority, due_at FOR UPDATE SKIP LOCKED LIMIT $4)
       RETURNING kind, key, fence, attempt, wanted, traceparent`,
      [holder, leaseMs, kinds, limit],
    );
  }

  /** False: the lease is lost, or was given back; a late heartbeat does not take it again. */
  async extend(job: ClaimedJob, leaseMs: number): Promise<boolean> {
    const rows = await this.database.query(
      `UPDATE job SET lease_until = now() + $4 * interval '1 millisecond'
       WHERE kind = $1 AND key = $2 AND fence = $3 AND lease_until IS NOT NULL RETURNING 1`,
      [job.kind, job.key, job.fence, leaseMs],
    );
    return rows.length > 0;
  }

  /** Throws LeaseLost. Ask before each effect outside this database. */
  async check(job: ClaimedJob): Promise<void> {
    const rows = await this.database.query(
      'SELECT 1 FROM job WHERE kind = $1 AND key = $2 AND fence = $3 AND lease_until > now()',
      [job.kind, job.key, job.fence],
    );
    if (rows.length === 0) throw new LeaseLost(job.kind, job.key);
  }

  /** Throws LeaseLost; otherwise nobody can take the lease before this transaction ends. */
  async hold(tx: Transaction, job: ClaimedJob): Promise<void> {
    const rows = await tx.query(
      'SELECT 1 FROM job WHERE kind = $1 AND key = $2 AND fence = $3 AND lease_until > now() FOR UPDATE',
      [job.kind, job.key, job.fence],
    );
    if (rows.length === 0) throw new LeaseLost(job.kind, job.key);
  }

  /** The job is gone, unless it was asked for again meanwhile: then it is due at once. */
  async finish(job: ClaimedJob): Promise<void> {
    const gone = await this.database.query(
      'DELETE FROM job WHERE kind = $1 AND key = $2 AND fence = $3 AND wanted = $4 RETURNING 1',
      [job.kind, job.key, job.fence, job.wanted],
    );
    if (gone.length === 0) await this.release(job, { inMs: 0, attempt: 0 });
  }

  /** Looks again after `inMs`, or at once when it was asked for meanwhile. */
  async again(job: ClaimedJob, inMs: number): Promise<void> {
    await this.release(job, { inMs, attempt: 0 });
  }

  async failed(job: ClaimedJob, error: string, inMs: number): Promise<void> {
    await this.release(job, { inMs, attempt: job.attempt, error });
  }

  private async release(job: ClaimedJob, next: { inMs: number; attempt: number; error?: string }): Promise<void> {
    await this.database.query(
      `UPDATE job SET lease_holder = NULL, lease_until = NULL, attempt = $5, last_error = $6,
         due_at = CASE WHEN wanted = $4 THEN now() + $7 * interval '1 millisecond' ELSE now() END
       WHERE kind = $1 AND key = $2 AND fence = $3`,
      [job.kind, job.key, job.fence, job.wanted, next.attempt, next.error ?? null, next.inMs],
    );
  }
}
