import { Injectable } from '@nestjs/common';
import { type PayloadOf, TemplatePublished } from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { Templates } from './ports.js';

/** Instances can be made of one more template; some may have waited for it. */
@Injectable()
export class LearnTemplateHandler extends MessageHandler<typeof TemplatePublished> {
  constructor(
    private readonly templates: Templates,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(template: PayloadOf<typeof TemplatePublished>, ctx: ConsumeContext): Promise<void> {
    await this.templates.add(ctx, template, ctx.message.time ?? template.madeAt);
    await this.jobs.ask(ctx, { kind: 'waiting', key: 'placements' });
    await this.jobs.ask(ctx, { kind: 'spares', key: 'pool', priority: 'bulk' });
  }
}
