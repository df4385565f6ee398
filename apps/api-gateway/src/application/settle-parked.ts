import { Injectable } from '@nestjs/common';
import { Database } from '#persistence/index.js';
import { ParkedMessages, ParkedReplay, type ParkedView } from './ports.js';

/** Somebody has decided about it already; the message says what. */
export class AlreadySettled extends Error {}

/** What a person does with a parked message: put it back, or let it go for good. */
@Injectable()
export class SettleParked {
  constructor(
    private readonly database: Database,
    private readonly parked: ParkedMessages,
    private readonly way: ParkedReplay,
  ) {}

  /**
   * Puts it back into the queue it came from. Undefined: there is none of this number. Throws AlreadySettled and
   * NotReplayable. Who dies between the broker's confirm and our commit puts it back twice; the inbox knows it then.
   */
  async replay(id: string): Promise<ParkedView | undefined> {
    return await this.settle(id, async (tx, message) => {
      await this.way.replay(message);
      await this.parked.mark(tx, id, 'replayed', null);
    });
  }

  /** Its body is kept; it is only not shown among those that wait for somebody. */
  async discard(id: string, reason: string): Promise<ParkedView | undefined> {
    return await this.settle(id, (tx) => this.parked.mark(tx, id, 'discarded', reason));
  }

  private async settle(
    id: string,
    decide: (
      tx: Parameters<ParkedMessages['lock']>[0],
      message: NonNullable<Awaited<ReturnType<ParkedMessages['lock']>>>,
    ) => Promise<void>,
  ): Promise<ParkedView | undefined> {
    const found = await this.database.transaction(async (tx) => {
      const message = await this.parked.lock(tx, id);
      if (!message) return false;
      if (message.status !== 'parked') throw new AlreadySettled(`message ${id} is ${message.status} already`);
      await decide(tx, message);
      return true;
    });
    if (!found) return undefined;
    const { body: _, ...view } = (await this.parked.get(id))!;
    return view;
  }
}
