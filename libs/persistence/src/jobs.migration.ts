import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The table of the job queue. */
export class Jobs1764000000000 implements MigrationInterface {
  readonly name = 'Jobs1764000000000';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE job (
        kind text NOT NULL,
        key text NOT NULL,
        priority smallint NOT NULL,
        due_at timestamptz NOT NULL DEFAULT now(),
        wanted bigint NOT NULL DEFAULT 1,
        attempt integer NOT NULL DEFAULT 0,
        fence bigint,
        lease_holder text,
        lease_until timestamptz,
        traceparent text,
        last_error text,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (kind, key)
      ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)`);
    await runner.query('CREATE INDEX job_due ON job (kind, priority, due_at)');
    // One sequence for all jobs and for ever: a fence is never given twice, also when a job is deleted and comes again.
    await runner.query('CREATE SEQUENCE job_fence AS bigint');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE job');
    await runner.query('DROP SEQUENCE job_fence');
  }
}

/** What the operation that asked for a job is about, for its spans. */
export class Jobs1764000000003 implements MigrationInterface {
  readonly name = 'Jobs1764000000003';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE job ADD about jsonb');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE job DROP about');
  }
}

/** In this order, among the migrations of every service that reconciles. */
export const jobsMigrations = [Jobs1764000000000, Jobs1764000000003] as const;
