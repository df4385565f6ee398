import { Injectable } from '@nestjs/common';
import type { RequestContract } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { type Caller, sees } from '../domain/access.js';
import type { InstanceView } from '../domain/instance-view.js';
import { Once } from './once.js';
import { type Action, Actions, InstanceViews } from './ports.js';

/** An action, and with what it is asked for. */
export interface Wanted {
  /** `stop` */
  readonly action: string;
  readonly contract: RequestContract;
  readonly instanceId: string;
  /** The fields of the request, but for those that say which instance and who asks. */
  readonly fields: object;
  /** What a field is that the caller leaves out; null: there is nothing that it could be. */
  readonly absent: Readonly<Record<string, (view: InstanceView) => string | null>>;
  /** What cannot be in the fields, whatever becomes of the instance; undefined: nothing. */
  readonly faultOf?: ((fields: object, view: InstanceView) => string | undefined) | undefined;
}

/** The fields do not fit together, or the instance. */
export class Misfit extends Error {}

/** A field was left out, and the instance has nothing to put there. */
export class NothingToTake extends Error {}

export class UnknownInstance extends Error {}

/** Asks the owner of an action for it, in the name of a key. Whether it can be done the owner decides. */
@Injectable()
export class ActOnInstance {
  constructor(
    private readonly views: InstanceViews,
    private readonly actions: Actions,
    private readonly outbox: Outbox,
    private readonly once: Once,
  ) {}

  /**
   * Throws UnknownInstance when there is none for this caller, NothingToTake, Misfit, and IdempotencyKeyReused; then
   * nothing is sent.
   * @param key under which the caller repeats it.
   */
  async ask(
    { action, contract, instanceId: wanted, fields, absent, faultOf }: Wanted,
    { caller, key, traceparent }: { caller: Caller; key: string | undefined; traceparent: string | undefined },
  ): Promise<Pick<Action, 'operationId' | 'instanceId'>> {
    const { answer } = await this.outbox.transaction({ traceparent }, (ctx) =>
      this.once.do(ctx, { caller: caller.keyId, key }, { action, instanceId: wanted, ...fields }, async () => {
        const view = await this.views.get(wanted, ctx);
        if (!view || !sees(caller, view.customerId)) throw new UnknownInstance();
        const { instanceId } = view;
        const fault = faultOf?.(fields, view);
        if (fault) throw new Misfit(fault);
        const whole = { ...filledIn(fields, absent, view), instanceId, requestedBy: caller.keyId };
        const operationId = await ctx.publish(contract, whole);
        await this.actions.note(ctx, { operationId, instanceId, action });
        return { operationId, instanceId };
      }),
    );
    return answer;
  }
}

function filledIn(fields: object, absent: Wanted['absent'], view: InstanceView): object {
  const taken = Object.entries(absent)
    .filter(([field]) => !(field in fields))
    .map(([field, take]) => [field, take(view)]);
  if (taken.some(([, value]) => value === null)) throw new NothingToTake();
  return { ...fields, ...Object.fromEntries(taken) };
}
