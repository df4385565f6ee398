import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Backup1764000000060 implements MigrationInterface {
  readonly name = 'Backup1764000000060';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE instance (
        instance_id uuid PRIMARY KEY,
        customer_id text NOT NULL,
        placed jsonb NOT NULL,
        plan jsonb NOT NULL,
        state text,
        since timestamptz,
        live jsonb,
        quiesce jsonb
      ) WITH (fillfactor = 70)`);
    await runner.query('CREATE TABLE footprint (footprint_id uuid PRIMARY KEY, made jsonb NOT NULL)');
    await runner.query(`
      CREATE TABLE purge (
        approval_id text PRIMARY KEY,
        instance_id uuid NOT NULL,
        footprint_id uuid NOT NULL,
        namespace text NOT NULL,
        done boolean NOT NULL,
        traceparent text,
        correlation_id text NOT NULL
      )`);
    await runner.query(`
      CREATE TABLE backup (
        backup_id uuid PRIMARY KEY,
        instance_id uuid NOT NULL,
        customer_id text NOT NULL,
        footprint_id uuid NOT NULL,
        why text NOT NULL,
        token text,
        state text NOT NULL
          CHECK (state IN ('waiting', 'dumping', 'saving', 'completed', 'failed', 'expiring', 'expired')),
        source jsonb NOT NULL,
        dumped jsonb,
        saved jsonb,
        manifest text,
        verified jsonb,
        fault jsonb,
        held text,
        requested_at timestamptz NOT NULL,
        taken_at timestamptz,
        expires_at timestamptz,
        condition jsonb,
        spent_ms integer NOT NULL,
        seen_at timestamptz,
        traceparent text,
        correlation_id text NOT NULL,
        request_id text
      ) WITH (fillfactor = 70)`);
    await runner.query('CREATE INDEX backup_instance ON backup (instance_id, taken_at)');
    await runner.query(`
      CREATE INDEX backup_open ON backup ((source->>'databaseShard'), requested_at)
        WHERE state IN ('waiting', 'dumping', 'saving')`);
    await runner.query(`
      CREATE TABLE restore (
        restore_id uuid PRIMARY KEY,
        instance_id uuid NOT NULL,
        backup_id uuid NOT NULL,
        mode text NOT NULL,
        "to" jsonb,
        requested_by text NOT NULL,
        reason text NOT NULL,
        status text NOT NULL CHECK (status IN ('active', 'undoing', 'ended')),
        stage integer NOT NULL,
        footprint_id uuid NOT NULL UNIQUE,
        progress jsonb NOT NULL,
        started_at timestamptz NOT NULL,
        condition jsonb,
        spent_ms integer NOT NULL,
        seen_at timestamptz,
        traceparent text,
        correlation_id text NOT NULL,
        request_id text
      ) WITH (fillfactor = 70)`);
    await runner.query(`CREATE INDEX restore_open ON restore (instance_id) WHERE status <> 'ended'`);
    await runner.query(`CREATE INDEX restore_clone ON restore (("to"->>'instanceId')) WHERE "to" IS NOT NULL`);
    // One that switches an instance at a time, whatever the program thinks.
    await runner.query(`
      CREATE UNIQUE INDEX restore_switches ON restore (instance_id)
        WHERE status <> 'ended' AND mode NOT IN ('proof', 'clone')`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['restore', 'backup', 'purge', 'footprint', 'instance'])
      await runner.query(`DROP TABLE ${table}`);
  }
}

export class BackupSchedule1764000000061 implements MigrationInterface {
  readonly name = 'BackupSchedule1764000000061';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE schedule (
        instance_id uuid PRIMARY KEY,
        known_since timestamptz NOT NULL DEFAULT now(),
        unsaved_since timestamptz,
        saved_at timestamptz,
        next_at timestamptz,
        late_at timestamptz,
        unproved_at timestamptz
      ) WITH (fillfactor = 70)`);
    await runner.query('CREATE INDEX backup_asked ON backup (instance_id, requested_at)');
    await runner.query(`
      CREATE INDEX backup_proved ON backup (instance_id, taken_at)
        WHERE state = 'completed' AND verified->>'depth' = 'full'`);
    await runner.query(`CREATE INDEX backup_expiring ON backup (instance_id) WHERE state = 'expiring'`);
    // The contents of an instance are being looked through for those that nothing names.
    await runner.query('CREATE TABLE sweep (instance_id uuid PRIMARY KEY, begun_at timestamptz NOT NULL)');
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['sweep', 'schedule']) await runner.query(`DROP TABLE ${table}`);
    for (const index of ['backup_expiring', 'backup_proved', 'backup_asked']) await runner.query(`DROP INDEX ${index}`);
  }
}

/** What is over is not kept: of snapshots that were removed, and of footprints that there are no more. */
export class BackupForgets1764000000062 implements MigrationInterface {
  readonly name = 'BackupForgets1764000000062';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('DELETE FROM purge WHERE done');
    await runner.query('ALTER TABLE purge DROP COLUMN done');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE purge ADD COLUMN done boolean NOT NULL DEFAULT false');
  }
}

/** Contents that no backup names any more and that the store did not give up: looked for again at `sweep_at`. */
export class BackupHeldContents1764000000063 implements MigrationInterface {
  readonly name = 'BackupHeldContents1764000000063';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE held_contents (
        instance_id uuid PRIMARY KEY,
        customer_id text NOT NULL,
        sweep_at timestamptz NOT NULL
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE held_contents');
  }
}

/** In this order. */
export const backupMigrations = [
  Backup1764000000060,
  BackupSchedule1764000000061,
  BackupForgets1764000000062,
  BackupHeldContents1764000000063,
] as const;
