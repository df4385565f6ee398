import { Injectable } from '@nestjs/common';
import {
  FootprintRemovalRefused,
  FootprintRemovalRequested,
  FootprintRemoved,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler, TerminalError } from '#messaging/index.js';
import { footprintNames, isSecretOf } from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import { type Footprint, removedAs } from '../domain/footprint.js';
import { removalOn } from '../domain/removal-request.js';
import { Footprints, ProvisionerSettings } from './ports.js';

/** A footprint that no instance lives in is not wanted any more. What one lives in is not removed this way, whoever asks. */
@Injectable()
export class RemoveUnwantedHandler extends MessageHandler<typeof FootprintRemovalRequested> {
  constructor(
    private readonly footprints: Footprints,
    private readonly jobs: JobQueue,
    private readonly settings: ProvisionerSettings,
  ) {
    super();
  }

  async handle(wanted: PayloadOf<typeof FootprintRemovalRequested>, ctx: ConsumeContext): Promise<void> {
    const { footprintId } = wanted;
    this.expectItsOwn(wanted);
    const { id: requestId, publishedBy, traceparent } = ctx.message;
    const footprint = await this.footprints.lock(ctx, footprintId);
    // That it was placed may come later than this; then it comes again.
    if (!footprint) throw new Error(`footprint ${footprintId} is not known here yet`);
    if (footprint.state === 'removed')
      return void (await ctx.publish(FootprintRemoved, { footprintId, purpose: removedAs(footprint) }));
    if (footprint.state === 'removing') return await this.remove(ctx, footprint, requestId, wanted.secrets);

    const verdict = removalOn(publishedBy, footprint);
    if (verdict.kind === 'unknown') throw new Error(`footprint ${footprintId} is left alone for now: ${verdict.why}`);
    if (verdict.kind === 'refuse') {
      const { code, message } = verdict;
      return void (await ctx.publish(FootprintRemovalRefused, {
        requestId,
        footprintId,
        code,
        fault: 'platform',
        message: `${message}: it was left alone`,
      }));
    }
    await this.remove(ctx, footprint, requestId, wanted.secrets);
    await this.jobs.ask(ctx, { kind: 'footprint', key: footprintId, priority: 'bulk', traceparent });
  }

  /** No request, however it came to be, reaches beyond its footprint. */
  private expectItsOwn({ footprintId, secrets = [] }: PayloadOf<typeof FootprintRemovalRequested>): void {
    const names = footprintNames(this.settings.meshName, footprintId);
    const strange = secrets.find((secret) => !isSecretOf(names, secret));
    if (strange)
      throw new TerminalError(`Secret ${strange} is not one of footprint ${footprintId}: nothing was removed`);
  }

  /** Who asks is answered when nothing is left of it. */
  private async remove(
    ctx: ConsumeContext,
    footprint: Footprint,
    requestId: string,
    secrets = footprint.approval?.secrets,
  ): Promise<void> {
    const { approval, state } = footprint;
    const requests = [...new Set([...(approval?.requests ?? []), requestId])];
    // What follows is done and said because of who asked first.
    const { traceparent, correlationId } = ctx.message;
    const cause = state === 'removing' ? {} : { traceparent: traceparent ?? null, correlationId };
    const removing = {
      ...footprint,
      ...cause,
      state: 'removing',
      approval: { ...approval, requests, secrets },
    } as const;
    await this.footprints.save(ctx, removing);
  }
}
