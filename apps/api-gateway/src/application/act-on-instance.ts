import { Injectable } from '@nestjs/common';
import type { RequestContract } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { type Caller, sees } from '../domain/access.js';
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
}

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
   * Throws UnknownInstance when there is none for this caller, and IdempotencyKeyReused; then nothing is sent.
   * @param key under which the caller repeats it.
   */
  async ask(
    { action, contract, instanceId: wanted, fields }: Wanted,
    { caller, key, traceparent }: { caller: Caller; key: string | undefined; traceparent: string | undefined },
  ): Promise<Pick<Action, 'operationId' | 'instanceId'>> {
    const { answer } = await this.outbox.transaction({ traceparent }, (ctx) =>
      this.once.do(ctx, { caller: caller.keyId, key }, { action, instanceId: wanted, ...fields }, async () => {
        const view = await this.views.get(wanted, ctx);
        if (!view || !sees(caller, view.customerId)) throw new UnknownInstance();
        const { instanceId } = view;
        const operationId = await ctx.publish(contract, { ...fields, instanceId, requestedBy: caller.keyId });
        await this.actions.note(ctx, { operationId, instanceId, action });
        return { operationId, instanceId };
      }),
    );
    return answer;
  }
}
