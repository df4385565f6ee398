import { Injectable } from '@nestjs/common';
import { type About, aboutNow } from '#observability/index.js';
import { Database, type Transaction } from './database.js';
import { whenDue } from './when-due.js';

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
  /**
   * How often it was claimed since it last came to an end or committed anything, this time included: failures, and
   * workers that died.
   */
  readonly attempt: number;
  readonly wanted: string;
  readonly traceparent: string | null;
  /** What the operation that asked for it is about. */
  readonly about: About | null;
}

/**
 * How long a job rests after its worker died with it, beyond the lease: 0 s, then 2, 4, … up to a minute. One that kills
 * whoever takes it would otherwise end the service again and again, and the others' work with it.
 */
const rest = `CASE WHEN attempt < 2 THEN interval '0' ELSE least(power(2, least(attempt - 1, 12)), 60) * interval '1 second' END`;

/** A job that does not come to an end by itself. */
export interface StuckJob {
  readonly kind: string;
  readonly key: string;
  readonly attempt: number;
  readonly dueForSeconds: number;
  readonly lastError: string | null;
}

/** Failed so often in a row, or due for so long, that a person should look. */
const stuck = `(attempt >= 8 OR (due_at < now() - interval '5 minutes'
  AND coalesce(lease_until, due_at) < now() - interval '5 minutes'))`;

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
      `INSERT INTO job (kind, key, priority, traceparent, about, due_at)
       VALUES ($1, $2, $3, $4, $5, now() + $6 * interval '1 millisecond')
       ON CONFLICT (kind, key) DO UPDATE SET
         wanted = job.wanted + 1,
         due_at = least(job.due_at, excluded.due_at),
         priority = least(job.priority, excluded.priority),
         traceparent = coalesce(excluded.traceparent, job.traceparent),
         about = CASE WHEN excluded.traceparent IS NULL THEN job.about ELSE excluded.about END`,
      [
        job.kind,
        job.key,
        priorities[job.priority ?? 'normal'],
        job.traceparent ?? null,
        job.traceparent ? JSON.stringify(aboutNow()) : null,
        job.inMs ?? 0,
      ],
    );
    tx.afterCommit(() => this.onAsked());
  }

  /**
   * Makes a waiting job due now; does nothing when there is none. For watches: they say that it is worth a look.
   * @param kind several, where a key can be of any of them.
   * @param inMs due only then, so that one look sees all that comes until then.
   */
  async hurry(kind: string | readonly string[], key: string, inMs = 0): Promise<void> {
    const hurried = await this.database.query<{ free: boolean }>(
      `UPDATE job SET wanted = wanted + 1, due_at = least(due_at, now() + $3 * interval '1 millisecond')
       WHERE kind = ANY($1) AND key = $2 RETURNING lease_holder IS NULL AS free`,
      [typeof kind === 'string' ? [kind] : kind, key, inMs],
    );
    // Who works on it looks again when he is done.
    if (!hurried.some(({ free }) => free)) return;
    if (inMs > 0) whenDue(inMs, () => this.onAsked());
    else this.onAsked();
  }

  /**
   * What is chosen stands in a WITH of its own, here and wherever rows are taken by SKIP LOCKED: as a subselect PostgreSQL
   * may look anew for each row of the table, passes what it has taken already, and takes more than the limit.
   * @param least jobs of lower priority are left to others.
   */
  async claim(
    kinds: readonly string[],
    holder: string,
    leaseMs: number,
    limit: number,
    least: Priority = 'bulk',
  ): Promise<ClaimedJob[]> {
    return await this.database.query<ClaimedJob>(
      `WITH next AS MATERIALIZED (
         SELECT kind, key FROM job
         WHERE kind = ANY($3) AND priority <= $5 AND due_at <= now() AND (lease_until IS NULL OR lease_until + ${rest} < now())
         ORDER BY priority, due_at FOR UPDATE SKIP LOCKED LIMIT $4)
       UPDATE job SET lease_holder = $1, lease_until = now() + $2 * interval '1 millisecond',
         fence = nextval('job_fence'), attempt = attempt + 1
       FROM next WHERE (job.kind, job.key) = (next.kind, next.key)
       RETURNING job.kind, job.key, fence, attempt, wanted, traceparent, about`,
      [holder, leaseMs, kinds, limit, priorities[least]],
    );
  }

  /** What a person should look at, longest due first: fails again and again, kills its workers, or nobody takes it. */
  async stuckJobs(limit: number): Promise<StuckJob[]> {
    return await this.database.query<StuckJob>(
      `SELECT kind, key, attempt, greatest(0, extract(epoch FROM now() - due_at))::float8 AS "dueForSeconds",
         last_error AS "lastError"
       FROM job WHERE ${stuck} ORDER BY due_at LIMIT $1`,
      [limit],
    );
  }

  /** By kind. `due`: nobody has it yet; ages in seconds. */
  async figures(): Promise<
    {
      kind: string;
      jobs: number;
      due: number;
      oldestDue: number;
      failing: number;
      leased: number;
      /** See `stuckJobs`. */
      stuck: number;
    }[]
  > {
    return await this.database.query(
      `SELECT kind, count(*)::int AS jobs,
         count(*) FILTER (WHERE due_at <= now() AND lease_until IS NULL)::int AS due,
         coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due_at <= now() AND lease_until IS NULL)), 0)::float8
           AS "oldestDue",
         count(*) FILTER (WHERE attempt > 1)::int AS failing,
         count(*) FILTER (WHERE lease_until > now())::int AS leased,
         count(*) FILTER (WHERE ${stuck})::int AS stuck
       FROM job GROUP BY kind`,
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

  /** Throws LeaseLost. Ask before each effect outside this database. @returns how long it is held from now on, in ms. */
  async check(job: ClaimedJob): Promise<number> {
    const [row] = await this.database.query<{ leftMs: number }>(
      `SELECT (extract(epoch FROM lease_until - now()) * 1000)::float8 AS "leftMs" FROM job
       WHERE kind = $1 AND key = $2 AND fence = $3 AND lease_until > now()`,
      [job.kind, job.key, job.fence],
    );
    if (!row) throw new LeaseLost(job.kind, job.key);
    return row.leftMs;
  }

  /**
   * Throws LeaseLost; otherwise nobody can take the lease before this transaction ends. Who commits `progress` is getting
   * on: its attempts are counted from here. A `note` changes nothing about that.
   */
  async hold(tx: Transaction, job: ClaimedJob, what: 'progress' | 'note' = 'progress'): Promise<void> {
    const rows = await tx.query(
      `UPDATE job SET attempt = CASE WHEN $4 THEN 1 ELSE attempt END
       WHERE kind = $1 AND key = $2 AND fence = $3 AND lease_until > now() RETURNING 1`,
      [job.kind, job.key, job.fence, what === 'progress'],
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
