import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Planner1764000000010 implements MigrationInterface {
  readonly name = 'Planner1764000000010';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE placement (
        instance_id uuid PRIMARY KEY,
        request_id text NOT NULL,
        specification jsonb NOT NULL,
        state text NOT NULL CHECK (state IN ('waiting', 'placed', 'ended')),
        waits_for text,
        host text NOT NULL,
        footprint_id uuid UNIQUE,
        cell text,
        database_shard text,
        traceparent text,
        correlation_id text NOT NULL,
        accepted_at timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query(`CREATE INDEX placement_waiting ON placement (accepted_at) WHERE state = 'waiting'`);
    await runner.query(`
      CREATE TABLE host_name (
        host text PRIMARY KEY,
        instance_id uuid NOT NULL,
        rests_until timestamptz
      )`);
    await runner.query(`
      CREATE TABLE cell (
        id text PRIMARY KEY,
        namespace text NOT NULL UNIQUE,
        state text NOT NULL CHECK (state IN ('opening', 'open', 'closed')),
        places integer NOT NULL,
        reserved integer NOT NULL DEFAULT 0 CHECK (reserved BETWEEN 0 AND places),
        made_at timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query(`
      CREATE TABLE database_shard (
        name text PRIMARY KEY,
        databases integer NOT NULL,
        reserved integer NOT NULL DEFAULT 0 CHECK (reserved >= 0)
      )`);
    await runner.query(`
      CREATE TABLE template (
        image text NOT NULL,
        version text NOT NULL,
        bundle text NOT NULL,
        language text NOT NULL,
        database_shard text NOT NULL,
        database text NOT NULL,
        PRIMARY KEY (image, bundle, language, database_shard)
      )`);
    await runner.query(`
      CREATE TABLE catalogue (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        size integer NOT NULL,
        told_at timestamptz NOT NULL
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['placement', 'host_name', 'cell', 'database_shard', 'template', 'catalogue'])
      await runner.query(`DROP TABLE ${table}`);
  }
}

/** Running spares; and when a template was made, because one made anew under the same name is another. */
export class Planner1764000000040 implements MigrationInterface {
  readonly name = 'Planner1764000000040';

  async up(runner: QueryRunner): Promise<void> {
    // What is not known is older than any that will be told of.
    await runner.query(`ALTER TABLE template ADD made_at timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z'`);
    await runner.query(`
      CREATE TABLE spare (
        footprint_id uuid PRIMARY KEY,
        cell text NOT NULL,
        database_shard text NOT NULL,
        template_database text NOT NULL,
        template_made_at timestamptz NOT NULL,
        plan text NOT NULL,
        plan_version integer NOT NULL,
        state text NOT NULL CHECK (state IN ('asked', 'ready', 'claimed', 'retiring')),
        claimed_by uuid UNIQUE,
        asked_at timestamptz NOT NULL DEFAULT now(),
        CHECK ((state = 'claimed') = (claimed_by IS NOT NULL))
      )`);
    await runner.query(`CREATE INDEX spare_unclaimed ON spare (state, asked_at) WHERE state <> 'claimed'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE spare');
    await runner.query('ALTER TABLE template DROP made_at');
  }
}

/** Plans change after the placing, and an instance that is renamed has two names. */
export class Planner1764000000050 implements MigrationInterface {
  readonly name = 'Planner1764000000050';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE placement ADD plan jsonb');
    await runner.query('ALTER TABLE host_name ADD taken_at timestamptz NOT NULL DEFAULT now()');
    await runner.query('CREATE INDEX host_name_instance ON host_name (instance_id)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE placement DROP plan');
    await runner.query('ALTER TABLE host_name DROP taken_at');
    await runner.query('DROP INDEX host_name_instance');
  }
}

/** Footprints that are filled from backups, and those that instances were switched away from. */
export class Planner1764000000060 implements MigrationInterface {
  readonly name = 'Planner1764000000060';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE beside (
        footprint_id uuid PRIMARY KEY,
        instance_id uuid NOT NULL,
        wish jsonb,
        plan jsonb,
        cell text NOT NULL,
        database_shard text NOT NULL,
        state text NOT NULL CHECK (state IN ('placed', 'lived-in', 'gone')),
        since timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query(`CREATE INDEX beside_gone ON beside (since) WHERE state = 'gone'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE beside');
  }
}

/** Domains of customers', and by which request a name was taken. */
export class Planner1764000000070 implements MigrationInterface {
  readonly name = 'Planner1764000000070';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE host_name ADD custom boolean NOT NULL DEFAULT false, ADD reservation text');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE host_name DROP custom, DROP reservation');
  }
}

/** In this order. */
export const plannerMigrations = [
  Planner1764000000010,
  Planner1764000000040,
  Planner1764000000050,
  Planner1764000000060,
  Planner1764000000070,
] as const;
