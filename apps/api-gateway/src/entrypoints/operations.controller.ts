import { Controller, Get, Param, UseGuards } from '@nestjs/common';
import { InstanceViews, Timeline } from '../application/ports.js';
import { type OperationState, stateOfOperation } from '../domain/operation.js';
import type { TimelineEntry } from '../domain/timeline.js';
import { ApiKeyGuard } from './api-key.guard.js';
import { Problem } from './problem.js';

interface Operation {
  readonly operationId: string;
  readonly instanceId: string;
  readonly state: OperationState;
  readonly traceId: string | null;
  /** Why it waits or failed; of the last fact that gave one. */
  readonly reason: string | null;
  readonly facts: readonly TimelineEntry[];
}

@Controller('v1/operations')
@UseGuards(ApiKeyGuard)
export class OperationsController {
  constructor(
    private readonly timeline: Timeline,
    private readonly views: InstanceViews,
  ) {}

  /** What became of a request; its message's id is the operation's. */
  @Get(':id')
  async one(@Param('id') operationId: string): Promise<Operation> {
    const facts = await this.timeline.ofOperation(operationId);
    const instanceId = facts[0]?.instanceId ?? (await this.views.byOperation(operationId))?.instanceId;
    if (!instanceId)
      throw new Problem(
        404,
        'unknown-operation',
        'There is no such operation',
        'Its id is the `operationId` of the answer, or the id of the message that asked.',
      );
    return {
      operationId,
      instanceId,
      state: stateOfOperation(facts.map(({ fact }) => fact)),
      traceId: facts.find(({ traceId }) => traceId)?.traceId ?? null,
      reason: facts.at(-1)?.reason ?? null,
      facts: facts.map(({ instanceId: _, ...entry }) => entry),
    };
  }
}
