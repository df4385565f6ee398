import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Provisioner1764000000030 implements MigrationInterface {
  readonly name = 'Provisioner1764000000030';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE footprint (
        footprint_id uuid PRIMARY KEY,
        instance_id uuid NOT NULL,
        placed jsonb NOT NULL,
        state text NOT NULL CHECK (state IN ('making', 'ready', 'failed', 'removing', 'removed')),
        epoch integer NOT NULL,
        timings jsonb NOT NULL,
        condition jsonb,
        approval jsonb,
        started_at timestamptz NOT NULL,
        traceparent text,
        correlation_id text NOT NULL
      ) WITH (fillfactor = 70)`);
    await runner.query('CREATE INDEX footprint_instance ON footprint (instance_id)');
    await runner.query(`CREATE INDEX footprint_at_work ON footprint (state) WHERE state IN ('making', 'removing')`);
    await runner.query(`
      CREATE TABLE published_template (
        database_shard text NOT NULL,
        database text NOT NULL,
        made_at timestamptz NOT NULL,
        PRIMARY KEY (database_shard, database)
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE footprint');
    await runner.query('DROP TABLE published_template');
  }
}

/** How much of its time a making has used up. Those that are under way get all of it anew. */
export class Provisioner1764000000031 implements MigrationInterface {
  readonly name = 'Provisioner1764000000031';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE footprint ADD spent_ms integer NOT NULL DEFAULT 0, ADD seen_at timestamptz');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE footprint DROP spent_ms, DROP seen_at');
  }
}

/** Footprints that are nobody's yet. */
export class Provisioner1764000000040 implements MigrationInterface {
  readonly name = 'Provisioner1764000000040';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE footprint ALTER instance_id DROP NOT NULL, DROP CONSTRAINT footprint_state_check,
        ADD CONSTRAINT footprint_state_check
          CHECK (state IN ('making', 'spare', 'ready', 'failed', 'removing', 'removed'))`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE footprint ALTER instance_id SET NOT NULL, DROP CONSTRAINT footprint_state_check,
        ADD CONSTRAINT footprint_state_check CHECK (state IN ('making', 'ready', 'failed', 'removing', 'removed'))`);
  }
}

/** Footprints that are filled from backups and switched to, and purges that wait for snapshots. */
export class Provisioner1764000000060 implements MigrationInterface {
  readonly name = 'Provisioner1764000000060';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE footprint ADD residence jsonb, ADD snapshots_gone text, DROP CONSTRAINT footprint_state_check,
        ADD CONSTRAINT footprint_state_check
          CHECK (state IN ('making', 'spare', 'standing', 'ready', 'failed', 'removing', 'removed'))`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE footprint DROP residence, DROP snapshots_gone, DROP CONSTRAINT footprint_state_check,
        ADD CONSTRAINT footprint_state_check
          CHECK (state IN ('making', 'spare', 'ready', 'failed', 'removing', 'removed'))`);
  }
}

/** In this order. */
export const provisionerMigrations = [
  Provisioner1764000000030,
  Provisioner1764000000031,
  Provisioner1764000000040,
  Provisioner1764000000060,
] as const;
