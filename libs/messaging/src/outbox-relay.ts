import { setTimeout as pause } from 'node:timers/promises';
import { type Span, SpanStatusCode } from '@opentelemetry/api';
import type { ConfirmChannel } from 'amqplib';
import type { Database } from '#persistence/index.js';
import type { BrokerConnection, ManagedChannel } from './broker.js';
import { startSend } from './message-spans.js';
import { type Outbox, propertiesOf } from './outbox.js';
import { RelayLock } from './relay-lock.js';

interface Row {
  readonly seq: string;
  readonly message_id: string;
  readonly exchange: string;
  readonly routing_key: string;
  readonly body: string;
  readonly traceparent: string | null;
}

const batchSize = 500;
const confirmLimitMs = 10_000;
/** ACCESS_REFUSED: our broker user may not say it; PRECONDITION_FAILED: it is too large, say. */
const refusals = [403, 406];

/**
 * Sends what the outbox holds, in order, and deletes what the broker has confirmed. At least once: a relay that dies
 * between the confirm and its COMMIT sends the batch again, under the same ids. One process of a service relays at a
 * time (see RelayLock); the others stand by. Rows are found by being there, never by a cursor, so that a transaction
 * that commits late is not skipped.
 */
export class OutboxRelay {
  private readonly stopping = new AbortController();
  private readonly channel: ManagedChannel;
  private loop: Promise<void> = Promise.resolve();
  private readonly lock: RelayLock;
  private wakeUp = new AbortController();
  /** After a failure one by one, until it is clear which message it was, or that it was none of them. */
  private batch = batchSize;
  private closedBecause: (Error & { readonly code?: number }) | undefined;
  trouble: string | undefined;

  constructor(
    private readonly database: Database,
    private readonly outbox: Outbox,
    private readonly connection: BrokerConnection,
    private readonly userId: string,
    private readonly onTrouble: (what: string, error: unknown) => void,
    /** Told after each batch, with the routing key of each message in it. */
    private readonly onSent: (keys: readonly string[]) => void = () => {},
    /** How often to look for what another process of this service has committed. */
    private readonly pollMs = 250,
  ) {
    this.channel = connection.channel('relay', async (channel) => {
      this.closedBecause = undefined;
      channel.on('error', (error: Error & { code?: number }) => {
        this.closedBecause = error;
      });
    });
    this.lock = new RelayLock(database, onTrouble);
  }

  /** Whether this process is the one of its service that sends. */
  get relays(): boolean {
    return this.lock.isOurs;
  }

  start(): void {
    this.outbox.onCommit = () => this.wakeUp.abort();
    this.loop = this.relay();
  }

  /** Sends what is there, if the broker takes it, and stops. */
  async drain(): Promise<void> {
    this.stopping.abort();
    this.wakeUp.abort();
    await this.loop;
    await this.channel.close();
  }

  private async relay(): Promise<void> {
    let failures = 0;
    let called = true;
    while (true) {
      const last = this.stopping.signal.aborted;
      // What is committed from here on wakes us, also when we are still sending what was there.
      this.wakeUp = new AbortController();
      try {
        const full = await this.relayBatch(called || last);
        failures = 0;
        this.trouble = undefined;
        if (last && !full) break;
        called = full || (await this.isCalled(this.pollMs));
      } catch (error) {
        failures += 1;
        this.trouble = `outbox not sent: ${(error as Error).message}`;
        this.onTrouble('outbox not sent', error);
        if (last) break;
        const ms = Math.random() * Math.min(5_000, 100 * 2 ** failures);
        await pause(ms, undefined, { signal: this.stopping.signal }).catch(() => {});
        called = true;
      }
    }
    await this.lock.release();
  }

  /** Resolves when a commit of this process calls, or after `ms`. @returns whether one has. */
  private async isCalled(ms: number): Promise<boolean> {
    const { signal } = this.wakeUp;
    await pause(ms, undefined, { signal }).catch(() => {});
    return signal.aborted;
  }

  /**
   * @param called nobody else has to be asked whether there is something; a look costs less than a transaction that finds nothing.
   * @returns whether there may be more.
   */
  private async relayBatch(called: boolean): Promise<boolean> {
    const channel = this.channel.current;
    if (!channel || this.connection.trouble) return false;
    if (!(await this.lock.held())) return false;
    if (!called && !(await this.isDue())) return false;
    const size = this.batch;
    let rows: Row[] = [];
    try {
      await this.database.transaction(async (tx) => {
        rows = await tx.query<Row>(
          `WITH next AS MATERIALIZED (
             SELECT seq FROM outbox WHERE due_at IS NULL OR due_at <= now() ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED)
           DELETE FROM outbox USING next WHERE outbox.seq = next.seq
           RETURNING outbox.seq, message_id, exchange, routing_key, body, traceparent`,
          [size],
        );
        rows.sort((a, b) => (BigInt(a.seq) < BigInt(b.seq) ? -1 : 1));
        if (rows.length > 0) await this.send(channel, rows);
      });
    } catch (error) {
      this.batch = 1;
      const [row] = rows;
      // The broker ended the channel because of this message alone.
      if (size === 1 && row && this.closedBecause && refusals.includes(this.closedBecause.code ?? 0))
        await this.setAside(row, this.closedBecause.message);
      throw error;
    }
    this.batch = Math.min(batchSize, size * 2);
    if (rows.length > 0) this.onSent(rows.map((row) => row.routing_key));
    return rows.length === size;
  }

  /** What another process of this service has committed, or was set aside. */
  private async isDue(): Promise<boolean> {
    const [row] = await this.database.query<{ due: boolean }>(
      'SELECT EXISTS (SELECT FROM outbox WHERE due_at IS NULL OR due_at <= now()) AS due',
    );
    return row!.due;
  }

  /** It is tried again later, and those behind it go on; its order among them is what it costs. */
  private async setAside(row: Row, message: string): Promise<void> {
    this.onTrouble(`the broker refuses a message with the key ${row.routing_key}`, new Error(message));
    await this.database.query(
      `UPDATE outbox SET refusals = refusals + 1, error = $2,
         due_at = now() + least(2 ^ least(refusals, 10), 60) * interval '1 second' WHERE seq = $1`,
      [row.seq, message],
    );
  }

  private async send(channel: ConfirmChannel, rows: readonly Row[]): Promise<void> {
    const spans = rows.map(startSend);
    const confirmed = rows.map(
      (row, i) =>
        new Promise<void>((resolve, reject) => {
          const properties = propertiesOf({ id: row.message_id, userId: this.userId, traceparent: row.traceparent });
          channel.publish(row.exchange, row.routing_key, Buffer.from(row.body), properties, (error) => {
            endSend(spans[i], error ? 'refused' : undefined);
            if (error) reject(error instanceof Error ? error : new Error('the broker refused the message'));
            else resolve();
          });
        }),
    );
    const limit = new AbortController();
    try {
      await Promise.race([
        Promise.all(confirmed),
        pause(confirmLimitMs, undefined, { signal: limit.signal, ref: false }).then(() => {
          throw new Error(`no confirm from the broker within ${confirmLimitMs} ms`);
        }),
      ]);
    } finally {
      limit.abort();
      for (const one of confirmed) one.catch(() => {});
      for (const span of spans) endSend(span, 'unconfirmed');
    }
  }
}

/** Of those that ended before the first word counts. */
function endSend(span: Span | undefined, failure: 'refused' | 'unconfirmed' | undefined): void {
  if (!span?.isRecording()) return;
  if (failure) {
    span.setAttribute('error.type', failure);
    span.setStatus({ code: SpanStatusCode.ERROR, message: failure });
  }
  span.end();
}
