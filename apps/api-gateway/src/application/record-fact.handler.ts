import { Injectable } from '@nestjs/common';
import type { FactContract } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { spanContextOf } from '#observability/index.js';
import { tell } from '../domain/timeline.js';
import { Timeline } from './ports.js';

/** Whatever is said about an instance gets its line, also what was overtaken on its way. */
@Injectable()
export class RecordFactHandler extends MessageHandler<FactContract> {
  constructor(private readonly timeline: Timeline) {
    super();
  }

  async handle(data: unknown, ctx: ConsumeContext): Promise<void> {
    const { instanceId, operationId: ends = null } = data as { instanceId?: string; operationId?: string };
    if (!instanceId) return;
    const { id, type, source, time, correlationId, traceparent, sequence } = ctx.message;
    await this.timeline.record(ctx, {
      instanceId,
      ...tell(type.replace(/^mesh\./, ''), data),
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
