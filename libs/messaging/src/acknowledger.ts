import type { ConfirmChannel, ConsumeMessage } from 'amqplib';

/**
 * Acknowledges what is done on one channel: whatever ends in one turn goes to the broker together, as one word where
 * nothing older is open. A quorum queue takes about 32 words at a time, and those that wait for their turn are forgotten
 * when the channel is closed.
 */
export class Acknowledger {
  /** In the order in which they came. */
  private readonly open = new Set<number>();
  private readonly done = new Map<number, ConsumeMessage>();
  private scheduled: NodeJS.Immediate | undefined;

  /** @param isUsable whether this channel is still the one to use. If not, the broker delivers again what is open. */
  constructor(
    private readonly channel: Pick<ConfirmChannel, 'ack'>,
    private readonly isUsable: () => boolean,
  ) {}

  /** In the order of their delivery tags. What never becomes `finished` is never acknowledged. */
  took(message: ConsumeMessage): void {
    this.open.add(message.fields.deliveryTag);
  }

  finished(message: ConsumeMessage): void {
    this.done.set(message.fields.deliveryTag, message);
    this.scheduled ??= setImmediate(() => this.flush());
  }

  /** At once, before the channel is closed. */
  flush(): void {
    clearImmediate(this.scheduled);
    this.scheduled = undefined;
    if (!this.isUsable()) return;
    let last: ConsumeMessage | undefined;
    for (const tag of this.open) {
      const message = this.done.get(tag);
      if (!message) break;
      last = message;
      this.forget(tag);
    }
    if (last) this.channel.ack(last, true);
    for (const [tag, message] of this.done) {
      this.forget(tag);
      this.channel.ack(message);
    }
  }

  private forget(tag: number): void {
    this.open.delete(tag);
    this.done.delete(tag);
  }
}
