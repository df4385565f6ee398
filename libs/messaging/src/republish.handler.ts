import { Injectable } from '@nestjs/common';
import { type PayloadOf, RepublishRequested, registry } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from './handler.js';
import { Outbox } from './outbox.js';

/** A service was born late or lost its queue: say the current facts again, to it alone. */
@Injectable()
export class RepublishHandler extends MessageHandler<typeof RepublishRequested> {
  constructor(private readonly outbox: Outbox) {
    super();
  }

  async handle(wanted: PayloadOf<typeof RepublishRequested>, ctx: ConsumeContext): Promise<void> {
    const { subscription, subjectKind, since } = wanted;
    const asking = subscription.replace(/\.facts$/, '');
    if (!subscription.endsWith('.facts') || !ctx.message.publisher?.endsWith(`-${asking}`))
      throw new TerminalError(
        `${ctx.message.publisher} asks for facts to be sent to ${subscription}, which is not its own`,
      );
    const keys = registry
      .filter((one) => one.kind === 'fact' && one.whole && one.subject === subjectKind)
      .map((one) => one.key);
    const { id, traceparent, correlationId } = ctx.message;
    const cause = { causationId: id, traceparent, correlationId };
    await this.outbox.republish(ctx, cause, { keys, subjectKind, since }, subscription);
  }
}
