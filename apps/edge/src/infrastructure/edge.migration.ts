import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Edge1764000000040 implements MigrationInterface {
  readonly name = 'Edge1764000000040';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE site (
        instance_id uuid PRIMARY KEY,
        weight smallint NOT NULL,
        host text,
        state text NOT NULL,
        reason text,
        heard_at timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query('CREATE INDEX site_host ON site (host)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE site');
  }
}
