import { Injectable } from '@nestjs/common';
import { Database } from '#persistence/index.js';
import { CurrentFacts, InstanceViews } from './ports.js';

export interface ReadModelStatus {
  readonly state: 'complete' | 'rebuilding';
  readonly generation: number;
  readonly startedAt: Date | null;
  readonly waitsFor: readonly string[];
  readonly instances: number;
  readonly notToldAgain: number;
}

/** Makes the read model again from what its owners say is current: after it was lost, or learnt to show more. */
@Injectable()
export class RebuildReadModel {
  constructor(
    private readonly database: Database,
    private readonly views: InstanceViews,
    private readonly facts: CurrentFacts,
  ) {}

  /** It has begun when this resolves; a repeat begins again. */
  async rebuild(): Promise<void> {
    await this.database.transaction(async (tx) => {
      await this.views.startAnew(tx);
      await this.facts.askForAll(tx);
    });
  }

  async status(): Promise<ReadModelStatus> {
    const [{ generation, startedAt, instances, old }, waitsFor] = await Promise.all([
      this.views.progress(),
      this.facts.unanswered(),
    ]);
    const state = waitsFor.length > 0 ? 'rebuilding' : 'complete';
    return { state, generation, startedAt, waitsFor, instances, notToldAgain: old };
  }
}
