import { Injectable } from '@nestjs/common';
import {
  HostReleased,
  HostReleaseRequested,
  HostReservationRefused,
  HostReservationRequested,
  HostReserved,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import { hasHost, isNamed, type Live } from '../domain/instance.js';
import { namesToReserve, type Operation, type Progress, wantsHost } from '../domain/operation.js';
import { Instances, Operations } from './ports.js';

/** The planner's word about names of an instance: one short handler per fact. */

@Injectable()
export class HearOfHostHandler extends MessageHandler<typeof HostReserved> {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle({ instanceId, host, requestId }: PayloadOf<typeof HostReserved>, ctx: ConsumeContext): Promise<void> {
    const instance = await this.instances.lock(ctx, instanceId);
    if (!instance) return;
    const renames = (await this.operations.open(ctx, instanceId)).filter(
      ({ kind, input }) => kind === 'rename' && wantsHost(input, host),
    );
    const asking = renames.find((one) => isAsking(one) && isAnsweredBy(instance.live, one, host, requestId));
    if (asking) return await answer(this.operations, this.jobs, ctx, asking, heldFor(asking, host));
    if (renames.length > 0 || hasHost(instance.live, host)) return;
    // Whoever asked for it has given up waiting meanwhile.
    const reason = 'nobody waits for it any more';
    await ctx.publish(HostReleaseRequested, { instanceId, host, reason, ...(requestId && { reservation: requestId }) });
  }
}

@Injectable()
export class HearOfNoHostHandler extends MessageHandler<typeof HostReservationRefused> {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly jobs: JobQueue,
  ) {
    super();
  }

  async handle(refused: PayloadOf<typeof HostReservationRefused>, ctx: ConsumeContext): Promise<void> {
    const { requestId, instanceId, code, fault, message } = refused;
    if (!(await this.instances.lock(ctx, instanceId))) return;
    const open = await this.operations.open(ctx, instanceId);
    const asking = open.find((one) => isAsking(one) && one.progress.asked === requestId);
    if (asking) await answer(this.operations, this.jobs, ctx, asking, { answered: { code, fault, message } });
  }
}

/** A name that was given up and is wanted again is asked for again: the giving up may have come there last. */
@Injectable()
export class HearOfReleasedHostHandler extends MessageHandler<typeof HostReleased> {
  constructor(private readonly instances: Instances) {
    super();
  }

  async handle({ instanceId, host }: PayloadOf<typeof HostReleased>, ctx: ConsumeContext): Promise<void> {
    const instance = await this.instances.lock(ctx, instanceId);
    if (!instance || instance.state === 'purging' || instance.state === 'terminated') return;
    if (!hasHost(instance.live, host)) return;
    const custom = instance.live.customDomains?.some((one) => one.host === host);
    const name = custom ? { customDomains: [host] } : { slug: host.slice(0, host.indexOf('.')) };
    await ctx.publish(HostReservationRequested, { instanceId, ...name });
  }
}

/** A rename under way that waits for the planner's word. */
function isAsking({ kind, status, progress }: Operation): boolean {
  return kind === 'rename' && status === 'active' && progress.asked !== undefined && progress.answered === undefined;
}

/**
 * The planner holds all that was asked for or nothing, so one of its words is enough: the one that says the host, where that
 * was asked for.
 */
function isAnsweredBy(
  live: Live,
  { input, progress }: Operation,
  host: string,
  requestId: string | undefined,
): boolean {
  const { slug } = namesToReserve(live, input) ?? {};
  const isOurs = requestId === undefined || requestId === progress.asked;
  return isOurs && (slug === undefined || (isNamed(host, slug) && !input.customDomains?.includes(host)));
}

function heldFor({ input, progress }: Operation, host: string): Pick<Progress, 'answered' | 'host' | 'reservation'> {
  const custom = input.customDomains?.includes(host);
  return { answered: 'yes', reservation: progress.asked!, ...(!custom && { host }) };
}

async function answer(
  operations: Operations,
  jobs: JobQueue,
  ctx: ConsumeContext,
  asking: Operation,
  answered: Pick<Progress, 'answered' | 'host' | 'reservation'>,
): Promise<void> {
  await operations.save(ctx, { ...asking, progress: { ...asking.progress, ...answered } });
  await jobs.ask(ctx, { kind: 'instance', key: asking.instanceId, priority: 'interactive' });
}
