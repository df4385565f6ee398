import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The table of the job queue; every service that reconciles lists it among its migrations. */
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
