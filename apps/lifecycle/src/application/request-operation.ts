import { Injectable } from '@nestjs/common';
import { InstanceOperationRefused } from '#contracts/index.js';
import { timeSpentAtFirst } from '#footprints/deadline.js';
import type { ConsumeContext } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { decide } from '../domain/arbitration.js';
import type { Instance } from '../domain/instance.js';
import { type Input, type Operation, type OperationKind, refusalOf } from '../domain/operation.js';
import { EndOperation } from './end-operation.js';
import { Instances, LifecycleSettings, Operations } from './ports.js';

export interface Asked {
  readonly instanceId: string;
  readonly requestedBy?: string | undefined;
  readonly reason: string;
}

/** Somebody asks something of an instance: it is refused with a reason, or kept and done in its turn. */
@Injectable()
export class RequestOperation {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly end: EndOperation,
    private readonly jobs: JobQueue,
    private readonly settings: LifecycleSettings,
  ) {}

  async accept(ctx: ConsumeContext, kind: OperationKind, asked: Asked, input: Input = {}): Promise<void> {
    const { id, traceparent, correlationId, time, source } = ctx.message;
    const now = new Date();
    const requestedBy = asked.requestedBy ?? source;
    const wanted: Operation = {
      operationId: id,
      instanceId: asked.instanceId,
      kind,
      input,
      requestedBy,
      reason: asked.reason,
      acceptedAt: now,
      status: 'waiting',
      mergedInto: null,
      urgent: false,
      stage: 0,
      startedAt: null,
      progress: {},
      condition: null,
      traceparent: traceparent ?? null,
      correlationId,
      ...timeSpentAtFirst(now),
    };
    const instance = await this.instances.lock(ctx, asked.instanceId);
    if (!instance) {
      // It may be on its way here: a request of the same publisher can be quicker than the planner's answer.
      await this.operations.save(ctx, wanted);
      return await this.jobs.ask(ctx, { kind: 'unknown-instance', key: id, inMs: this.settings.unknownForMs });
    }

    // Nobody's clock is believed to be ahead of ours: a request from the future would silence all that follow.
    const at = time === undefined ? now : new Date(Math.min(Date.parse(time), now.getTime()));
    if (!(await this.operations.isLatest(ctx, asked.instanceId, requestedBy, at)))
      return await this.refuse(ctx, wanted, 'SUPERSEDED', `a later request of ${requestedBy} was accepted before`);
    await this.keep(ctx, instance, wanted);
  }

  private async keep(ctx: ConsumeContext, instance: Instance, wanted: Operation): Promise<void> {
    const open = await this.operations.open(ctx, instance.instanceId);
    const active = open.find((one) => one.status === 'active');
    const waiting = open.filter((one) => one.status === 'waiting');
    const decision = decide(wanted, active ?? (instance.quiesce ? 'held' : undefined), waiting);
    let urgent = false;
    switch (decision.verdict) {
      case 'refused':
        return await this.refuse(ctx, wanted, decision.code, decision.message);
      case 'merges':
        return await this.operations.save(ctx, { ...wanted, status: 'merged', mergedInto: decision.into });
      case 'overtakes':
        // Who could not begin where it is now ends nobody: it may be that it can when that one has ended.
        if (decision.ends.length > 0 && refusalOf(instance, wanted, new Date())) break;
        urgent = true;
        for (const one of open.filter(({ operationId }) => decision.ends.includes(operationId)))
          await this.end.overtaken(ctx, instance, one, wanted);
        break;
    }
    await this.operations.save(ctx, { ...wanted, urgent });
    const { traceparent } = ctx.message;
    await this.jobs.ask(ctx, { kind: 'instance', key: instance.instanceId, priority: 'interactive', traceparent });
  }

  private async refuse(ctx: ConsumeContext, operation: Operation, code: string, message: string): Promise<void> {
    const { instanceId, operationId, kind } = operation;
    await ctx.publish(InstanceOperationRefused, {
      instanceId,
      operationId,
      operation: kind,
      code,
      fault: 'user',
      message,
    });
  }
}
