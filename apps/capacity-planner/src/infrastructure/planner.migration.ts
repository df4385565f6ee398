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
