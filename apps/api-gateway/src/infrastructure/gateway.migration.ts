import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Gateway1764000000020 implements MigrationInterface {
  readonly name = 'Gateway1764000000020';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE instance_view (
        instance_id uuid PRIMARY KEY,
        customer_id text,
        slug text,
        host text,
        url text,
        verified text,
        plan text,
        odoo_version text,
        state text NOT NULL,
        rank smallint NOT NULL,
        reason text,
        message text,
        step text,
        operation_id text,
        footprint_id uuid,
        cell text,
        timings jsonb,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
      ) WITH (fillfactor = 80)`);
    await runner.query('CREATE INDEX instance_view_order ON instance_view (created_at, instance_id)');
    await runner.query('CREATE INDEX instance_view_customer ON instance_view (customer_id, created_at, instance_id)');
    await runner.query('CREATE INDEX instance_view_slug ON instance_view (slug)');
    await runner.query(`
      CREATE TABLE parked_message (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        queue text NOT NULL,
        service text,
        message_id text,
        type text,
        routing_key text NOT NULL,
        publisher text,
        reason text NOT NULL,
        error text NOT NULL,
        attempts integer NOT NULL,
        traceparent text,
        body bytea NOT NULL,
        body_bytes integer NOT NULL,
        parked_at timestamptz NOT NULL DEFAULT now()
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE instance_view');
    await runner.query('DROP TABLE parked_message');
  }
}

/** What became of a parked message. */
export class Gateway1764000000021 implements MigrationInterface {
  readonly name = 'Gateway1764000000021';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE parked_message
        ADD status text NOT NULL DEFAULT 'parked' CHECK (status IN ('parked', 'replayed', 'superseded', 'discarded')),
        ADD status_since timestamptz NOT NULL DEFAULT now(),
        ADD status_reason text,
        ADD replay_of bigint`);
    await runner.query('CREATE INDEX parked_message_status ON parked_message (status, id)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE parked_message DROP status, DROP status_since, DROP status_reason, DROP replay_of');
  }
}

/** All that was ever said about an instance. */
export class Gateway1764000000022 implements MigrationInterface {
  readonly name = 'Gateway1764000000022';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE timeline (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        instance_id uuid NOT NULL,
        fact text NOT NULL,
        at timestamptz NOT NULL,
        sequence bigint NOT NULL,
        who text NOT NULL,
        summary text NOT NULL,
        reason text,
        fault text,
        operation_id text NOT NULL,
        trace_id text
      )`);
    await runner.query('CREATE INDEX timeline_instance ON timeline (instance_id, at, sequence, id)');
    await runner.query('CREATE INDEX timeline_operation ON timeline (operation_id)');
    await runner.query('CREATE INDEX instance_view_operation ON instance_view (operation_id)');
    await runner.query('ALTER TABLE instance_view ADD state_since timestamptz NOT NULL DEFAULT now()');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE timeline');
    await runner.query('DROP INDEX instance_view_operation');
    await runner.query('ALTER TABLE instance_view DROP state_since');
  }
}

/** Keys, requests that may be repeated, cells, the order of events, and a read model that can be made again. */
export class Gateway1764000000023 implements MigrationInterface {
  readonly name = 'Gateway1764000000023';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE api_key (
        id uuid PRIMARY KEY,
        hash bytea NOT NULL UNIQUE,
        name text NOT NULL,
        role text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
        customer_id text,
        created_at timestamptz NOT NULL DEFAULT now(),
        created_by text NOT NULL,
        ends_at timestamptz,
        ended_by text,
        replaced_by uuid
      )`);
    await runner.query(`
      CREATE TABLE repeat (
        caller text NOT NULL,
        key text NOT NULL,
        fingerprint text NOT NULL,
        answer jsonb,
        noted_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (caller, key)
      )`);
    await runner.query('CREATE INDEX repeat_age ON repeat (noted_at)');
    await runner.query(`
      CREATE TABLE cell (
        cell text PRIMARY KEY,
        namespace text NOT NULL,
        open boolean NOT NULL,
        places integer NOT NULL,
        reserved integer NOT NULL,
        shards jsonb NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
      )`);
    await runner.query('ALTER TABLE timeline ADD message_id text, ADD position bigint');
    await runner.query('CREATE UNIQUE INDEX timeline_message ON timeline (who, message_id)');
    await runner.query('CREATE UNIQUE INDEX timeline_position ON timeline (position)');
    await runner.query('CREATE INDEX timeline_without_position ON timeline (at, sequence, id) WHERE position IS NULL');
    await runner.query('ALTER TABLE instance_view ADD generation integer NOT NULL DEFAULT 0');
    await runner.query(`CREATE INDEX instance_view_by_slug ON instance_view ((coalesce(slug, '~')), instance_id)`);
    await runner.query(`
      CREATE TABLE read_model (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        generation integer NOT NULL,
        started_at timestamptz
      )`);
    await runner.query('INSERT INTO read_model (generation) VALUES (0)');
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['api_key', 'repeat', 'cell', 'read_model']) await runner.query(`DROP TABLE ${table}`);
    await runner.query('ALTER TABLE timeline DROP message_id, DROP position');
    await runner.query('DROP INDEX instance_view_by_slug');
    await runner.query('ALTER TABLE instance_view DROP generation');
  }
}

/** Lifecycle's word about an instance, which operation a fact ends, and what was asked of instances here. */
export class Gateway1764000000024 implements MigrationInterface {
  readonly name = 'Gateway1764000000024';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      ALTER TABLE instance_view
        ADD lifecycle_state text,
        ADD lifecycle_reason text,
        ADD lifecycle_since timestamptz,
        ADD desired text,
        ADD image text,
        ADD operation jsonb`);
    await runner.query('ALTER TABLE timeline ADD ends text');
    await runner.query('CREATE INDEX timeline_ends ON timeline (ends) WHERE ends IS NOT NULL');
    await runner.query(`
      CREATE TABLE action (
        operation_id text PRIMARY KEY,
        instance_id uuid NOT NULL,
        action text NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT now()
      )`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE action');
    await runner.query('ALTER TABLE timeline DROP ends');
    await runner.query(`
      ALTER TABLE instance_view DROP lifecycle_state, DROP lifecycle_reason, DROP lifecycle_since, DROP desired,
        DROP image, DROP operation`);
  }
}

/** Backups and restores, as their facts tell of them and as they were asked for here. */
export class Gateway1764000000025 implements MigrationInterface {
  readonly name = 'Gateway1764000000025';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE backup_view (
        backup_id uuid PRIMARY KEY,
        instance_id uuid NOT NULL,
        why text,
        taken_at timestamptz,
        template jsonb,
        database_bytes bigint,
        files_bytes bigint,
        files integer,
        checksum text,
        expires_at timestamptz,
        verified_sequence bigint,
        verified_at timestamptz,
        depth text,
        off_site boolean,
        files_seen text,
        rto_ms bigint,
        row_count bigint,
        held boolean NOT NULL DEFAULT false,
        hold_reason text,
        expired_at timestamptz,
        failed_sequence bigint,
        refused boolean NOT NULL DEFAULT false,
        code text,
        message text,
        operation_id text,
        requested_by text,
        reason text,
        generation integer NOT NULL,
        noted_at timestamptz NOT NULL DEFAULT now()
      ) WITH (fillfactor = 80)`);
    await runner.query(
      'CREATE INDEX backup_view_order ON backup_view (instance_id, (coalesce(taken_at, noted_at)), backup_id)',
    );
    await runner.query(`
      CREATE TABLE restore_view (
        restore_id uuid PRIMARY KEY,
        instance_id uuid NOT NULL,
        backup_id uuid NOT NULL,
        mode text NOT NULL,
        clone jsonb,
        state text NOT NULL,
        rank smallint NOT NULL,
        step text,
        steps jsonb,
        step_since timestamptz,
        message text,
        code text,
        footprint_id uuid,
        safety_backup_id uuid,
        duration_ms bigint,
        row_count bigint,
        files integer,
        operation_id text,
        requested_by text,
        reason text,
        generation integer NOT NULL,
        noted_at timestamptz NOT NULL DEFAULT now(),
        ended_at timestamptz
      ) WITH (fillfactor = 80)`);
    await runner.query(`CREATE INDEX restore_view_instance ON restore_view (instance_id) WHERE rank < 3`);
    await runner.query(`CREATE INDEX restore_view_clone ON restore_view ((clone->>'instanceId')) WHERE rank < 3`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE backup_view');
    await runner.query('DROP TABLE restore_view');
  }
}

/** Where an instance lived before. */
export class Gateway1764000000026 implements MigrationInterface {
  readonly name = 'Gateway1764000000026';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE instance_view ADD previous_footprint_id uuid');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE instance_view DROP previous_footprint_id');
  }
}

/** Domains of customers'. */
export class Gateway1764000000027 implements MigrationInterface {
  readonly name = 'Gateway1764000000027';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`ALTER TABLE instance_view ADD custom_domains text[] NOT NULL DEFAULT '{}'`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE instance_view DROP custom_domains');
  }
}

/** In this order. */
export const gatewayMigrations = [
  Gateway1764000000020,
  Gateway1764000000021,
  Gateway1764000000022,
  Gateway1764000000023,
  Gateway1764000000024,
  Gateway1764000000025,
  Gateway1764000000026,
  Gateway1764000000027,
] as const;
