import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Outbox, inbox and the two counters of order; every service that hears or says anything lists it. */
export class Messaging1764000000001 implements MigrationInterface {
  readonly name = 'Messaging1764000000001';

  async up(runner: QueryRunner): Promise<void> {
    // Rows go as soon as the broker has confirmed them, so the table stays near empty and is vacuumed often.
    await runner.query(`
      CREATE TABLE outbox (
        seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        message_id uuid NOT NULL,
        exchange text NOT NULL,
        routing_key text NOT NULL,
        body text NOT NULL,
        traceparent text,
        created_at timestamptz NOT NULL DEFAULT now()
      ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)`);
    await runner.query(`
      CREATE TABLE inbox (
        source text NOT NULL,
        message_id text NOT NULL,
        handled_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (source, message_id)
      )`);
    await runner.query('CREATE INDEX inbox_age ON inbox (handled_at)');
    await runner.query(`
      CREATE TABLE said (
        subject text PRIMARY KEY,
        sequence bigint NOT NULL
      ) WITH (fillfactor = 70)`);
    // The newest of each fact that carries its subject's whole state, to be said again to who comes late.
    await runner.query(`
      CREATE TABLE current_fact (
        routing_key text NOT NULL,
        subject text NOT NULL,
        message_id uuid NOT NULL,
        body text NOT NULL,
        traceparent text,
        said_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (routing_key, subject)
      ) WITH (fillfactor = 80)`);
    await runner.query(`
      CREATE TABLE heard (
        source text NOT NULL,
        subject text NOT NULL,
        type text NOT NULL,
        sequence bigint NOT NULL,
        PRIMARY KEY (source, subject, type)
      ) WITH (fillfactor = 70)`);
  }

  async down(runner: QueryRunner): Promise<void> {
    for (const table of ['outbox', 'inbox', 'said', 'current_fact', 'heard']) await runner.query(`DROP TABLE ${table}`);
  }
}

/** What was asked and not answered yet, and what was answered, to be answered again to who asks again. */
export class Messaging1764000000002 implements MigrationInterface {
  readonly name = 'Messaging1764000000002';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query(`
      CREATE TABLE asked (
        message_id text NOT NULL,
        owner text NOT NULL,
        routing_key text NOT NULL,
        body text NOT NULL,
        traceparent text,
        wait_ms integer NOT NULL,
        asked_at timestamptz NOT NULL DEFAULT now(),
        due_at timestamptz NOT NULL,
        PRIMARY KEY (message_id, owner)
      ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)`);
    await runner.query('CREATE INDEX asked_due ON asked (due_at)');
    await runner.query(`
      CREATE TABLE answer (
        request_id text NOT NULL,
        message_id uuid NOT NULL,
        body text NOT NULL,
        traceparent text,
        said_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (request_id, message_id)
      )`);
    await runner.query('CREATE INDEX answer_age ON answer (said_at)');
    // Millions of rows, of which the oldest go all the time: not a fifth of them has to be dead before they are cleared.
    await runner.query('ALTER TABLE inbox SET (autovacuum_vacuum_scale_factor = 0.02)');
    await runner.query('ALTER TABLE answer SET (autovacuum_vacuum_scale_factor = 0.02)');
    // A message that the broker refuses for its own fault is set aside, so that the others behind it go.
    await runner.query(
      'ALTER TABLE outbox ADD refusals integer NOT NULL DEFAULT 0, ADD due_at timestamptz, ADD error text',
    );
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('DROP TABLE asked');
    await runner.query('DROP TABLE answer');
    await runner.query('ALTER TABLE outbox DROP refusals, DROP due_at, DROP error');
  }
}

/** For facts that are admitted together: see `admitTogether`. */
export class Messaging1764000000003 implements MigrationInterface {
  readonly name = 'Messaging1764000000003';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE heard ADD previous bigint');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE heard DROP previous');
  }
}

/** In this order, among the migrations of every service that hears or says anything. */
export const messagingMigrations = [Messaging1764000000001, Messaging1764000000002, Messaging1764000000003] as const;
