import { Injectable } from '@nestjs/common';
import type { Outcome } from '#persistence/index.js';
import { Footprints, Operations } from './ports.js';

const keptForDays = 30;
const everyMs = 3_600_000;

/** Operations that ended are of use for a while to who looks why something was so; their story stands in the timeline. */
@Injectable()
export class ForgetOperations {
  constructor(
    private readonly operations: Operations,
    private readonly footprints: Footprints,
  ) {}

  async reconcile(): Promise<Outcome> {
    const gone = await this.operations.forgetEnded(keptForDays);
    await this.footprints.forgetRemoved(keptForDays);
    return { again: gone > 0 ? 1_000 : everyMs };
  }
}
