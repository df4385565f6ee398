import { Injectable } from '@nestjs/common';
import { Messaging } from '#messaging/index.js';
import type { Transaction } from '#persistence/index.js';
import { CurrentFacts } from '../application/ports.js';

@Injectable()
export class BrokerFacts extends CurrentFacts {
  constructor(private readonly messaging: Messaging) {
    super();
  }

  async askForAll(tx: Transaction): Promise<void> {
    await this.messaging.hearAgain(tx);
  }

  async unanswered(): Promise<string[]> {
    return await this.messaging.unansweredOwners();
  }
}
