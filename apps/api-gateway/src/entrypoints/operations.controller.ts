import { Controller } from '@nestjs/common';
import { z } from 'zod';
import { Actions, InstanceViews, Timeline } from '../application/ports.js';
import { sees } from '../domain/access.js';
import { stateOfOperation } from '../domain/operation.js';
import { Problem } from './problem.js';
import type { Call } from './route.js';
import { Serves } from './serves.js';
import { Operation } from './shapes.js';

const One = {
  id: 'getOperation',
  method: 'get',
  path: '/v1/operations/{operationId}',
  summary: 'What became of a request',
  description: 'The id is the `operationId` of the answer to the request, or the id of the message that asked.',
  right: { role: 'viewer', scope: 'customer' },
  params: z.strictObject({ operationId: z.string().regex(/^[!-~]{1,128}$/) }),
  status: 200,
  answer: Operation,
  problems: ['unknown-operation'],
} as const;

@Controller()
export class OperationsController {
  constructor(
    private readonly timeline: Timeline,
    private readonly views: InstanceViews,
    private readonly actions: Actions,
  ) {}

  @Serves(One)
  async one({ params: { operationId }, caller }: Call<typeof One>) {
    const facts = await this.timeline.ofOperation(operationId);
    const asked = await this.actions.get(operationId);
    const instanceId =
      facts[0]?.instanceId ?? asked?.instanceId ?? (await this.views.byOperation(operationId))?.instanceId;
    const view = instanceId ? await this.views.get(instanceId) : undefined;
    if (!instanceId || !sees(caller, view?.customerId ?? null)) throw new Problem('unknown-operation');
    const [making, ended] = [view?.operationId === operationId, view?.state === 'terminated'];
    return {
      operationId,
      instanceId,
      action: asked?.action ?? null,
      state: stateOfOperation({ operationId, facts, making, ended }),
      traceId: facts.find(({ traceId }) => traceId)?.traceId ?? null,
      reason: facts.at(-1)?.reason ?? null,
      facts: facts.map(({ instanceId: _, ends: _ends, ...entry }) => entry),
    };
  }
}
