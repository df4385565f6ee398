import { Injectable } from '@nestjs/common';
import type { FactContract } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { spanContextOf } from '#observability/index.js';
import { answersItsRequest } from '../domain/operation.js';
import { tell } from '../domain/timeline.js';
import { Actions, Timeline } from './ports.js';

/** Whatever is said about an instance gets its line, also what was overtaken on its way. */
@Injectable()
export class RecordFactHandler extends MessageHandler<FactContract> {
  constructor(
    private readonly timeline: Timeline,
    private readonly actions: Actions,
  ) {
    super();
  }

  async handle(data: unknown, ctx: ConsumeContext): Promise<void> {
    const { id, type, source, time, correlationId, causationId, traceparent, sequence } = ctx.message;
    const told = tell(type.replace(/^mesh\./, ''), data);
    const { operationId, ...named } = data as { instanceId?: string; operationId?: string };
    const ends = operationId ?? (answersItsRequest(told.fact) ? causationId : undefined) ?? null;
    // An answer that names no instance is about the one of which it was asked for here.
    const instanceId = named.instanceId ?? (ends === null ? undefined : (await this.actions.get(ends))?.instanceId);
    if (!instanceId) return;
    await this.timeline.record(ctx, {
      instanceId,
      ...told,
      at: time ? new Date(time) : new Date(),
      messageId: id,
      sequence: sequence ?? 0,
      who: source,
      operationId: correlationId,
      ends,
      traceId: spanContextOf(traceparent)?.traceId ?? null,
    });
  }
}
