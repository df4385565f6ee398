import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Lifecycle1764000000050 implements MigrationInterface {
  readonly name = 'Lifecycle1764000000050';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE instance (
        instance_id uuid PRIMARY KEY,
        placed jsonb NOT NULL,
        state text NOT NULL,
        previous text,
        reason text NOT NULL,
        since timestamptz NOT NULL,
        owner_wants text NOT NULL CHECK (owner_wants IN ('running', 'stopped')),
        suspension jsonb,
        termination jsonb,
        quiesce jsonb,
        live jsonb NOT NULL,
        kept jsonb,
        previous_footprint_id uuid,
        epoch integer NOT NULL,
        ever_ready boolean NOT NULL,
        traceparent text,
        correlation_id text NOT NULL
      ) WITH (fillfactor = 70)`);
    await runner.query('CREATE INDEX instance_state ON instance (state)');
    await runner.query(`
      CREATE TABLE operation (
        operation_id text PRIMARY KEY,
        instance_id uuid NOT NULL,
        kind text NOT NULL,
        input jsonb NOT NULL,
        requested_by text NOT NULL,
        reason text NOT NULL,
        accepted_at timestamptz NOT NULL,
        status text NOT NULL CHECK (status IN ('waiting', 'active', 'merged', 'ended')),
        merged_into text,
        urgent boolean NOT NULL,
        stage integer NOT NULL,
        started_at timestamptz,
        progress jsonb NOT NULL,
        condition jsonb,
        spent_ms integer NOT NULL,
        seen_at timestamptz,
        traceparent text,
        correlation_id text NOT NULL
      ) WITH (fillfactor = 70)`);
    // One at a time, whatever the program thinks.
    await runner.query(`CREATE UNIQUE INDEX operation_active ON operation (instance_id) WHERE status = 'active'`);
    await runner.query(`CREATE INDEX operation_open ON operation (instance_id) WHERE status IN ('waiting', 'active')`);
    await runner.query('CREATE INDEX operation_merged ON operation (merged_into) WHERE merged_into IS NOT NULL');
    await runner.query(`
      CREATE TABLE requester (
        instance_id uuid NOT NULL,
        requested_by text NOT NULL,
        last_at timestamptz NOT NULL,
        PRIMARY KEY (instance_id, requested_by)
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['requester', 'operation', 'instance']) await runner.query(`DROP TABLE ${table}`);
  }
}

/** An instance may live in another footprint than it was made in. */
export class Lifecycle1764000000051 implements MigrationInterface {
  readonly name = 'Lifecycle1764000000051';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE instance DROP previous_footprint_id, ADD former_footprints jsonb NOT NULL DEFAULT '[]'`);
    await runner.query(`
      CREATE INDEX instance_former ON instance USING gin (former_footprints jsonb_path_ops)
      WHERE former_footprints <> '[]'`);
    await runner.query(`
      CREATE TABLE footprint (
        footprint_id uuid PRIMARY KEY,
        ready jsonb,
        removed_at timestamptz
      )`);
    await runner.query('CREATE INDEX footprint_removed ON footprint (removed_at) WHERE removed_at IS NOT NULL');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE footprint');
    await runner.query('ALTER TABLE instance DROP former_footprints, ADD previous_footprint_id uuid');
  }
}

/** In this order. */
export const lifecycleMigrations = [Lifecycle1764000000050, Lifecycle1764000000051] as const;
