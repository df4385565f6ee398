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

/** What instances were called before. */
export class EdgeFormerHosts1764000000041 implements MigrationInterface {
  readonly name = 'EdgeFormerHosts1764000000041';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('CREATE TABLE former_host (host text PRIMARY KEY, instance_id uuid NOT NULL)');
    await runner.query('CREATE INDEX former_host_instance ON former_host (instance_id)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE former_host');
  }
}

/** Domains of their customers. */
export class EdgeCustomDomains1764000000042 implements MigrationInterface {
  readonly name = 'EdgeCustomDomains1764000000042';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE site ADD custom_domains text[] NOT NULL DEFAULT '{}'`);
    await runner.query(
      `CREATE INDEX site_custom_domains ON site USING gin (custom_domains) WHERE custom_domains <> '{}'`,
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE site DROP custom_domains');
  }
}

/** In this order. */
export const edgeMigrations = [
  Edge1764000000040,
  EdgeFormerHosts1764000000041,
  EdgeCustomDomains1764000000042,
] as const;
