import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { type InputOf, InstanceRequested, newId } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { hashPassword } from '#odoo/index.js';
import { Once, type Repeatable } from './once.js';
import { InstanceViews } from './ports.js';

export type InstanceWish = Omit<InputOf<typeof InstanceRequested>, 'instanceId' | 'adminPasswordHash'> & {
  readonly instanceId?: string | undefined;
};

export interface Accepted {
  readonly instanceId: string;
  readonly operationId: string;
  readonly adminLogin: string;
  /** Shown this once; nobody keeps it. Null: the request was a repeat. */
  readonly adminPassword: string | null;
  readonly passwordReset: string | null;
}

export class SlugTaken extends Error {}
export class InstanceExists extends Error {}

const passwordReset =
  'The first password was shown once, in the first answer to this request. If that answer was lost, set another one by mail: "Reset Password" on the log-in page of the instance, /web/reset_password.';

/** Asks the planner for an instance, with a first password that is made here and leaves only as a hash. */
@Injectable()
export class RequestInstance {
  constructor(
    private readonly views: InstanceViews,
    private readonly outbox: Outbox,
    private readonly once: Once,
  ) {}

  /**
   * Throws SlugTaken and InstanceExists when the read model knows the name or the id, and IdempotencyKeyReused. The
   * planner has the last word about names either way.
   */
  async request(wish: InstanceWish, repeatable: Repeatable, traceparent: string | undefined): Promise<Accepted> {
    const adminPassword = randomBytes(15).toString('base64url');
    // Before the transaction, which must not wait for it.
    const adminPasswordHash = await hashPassword(adminPassword);
    const { answer, repeated } = await this.outbox.transaction({ traceparent }, (ctx) =>
      this.once.do(ctx, repeatable, wish, async () => {
        const instanceId = wish.instanceId ?? newId();
        await this.refuseWhatIsKnown(wish.slug, wish.instanceId);
        const operationId = await ctx.publish(InstanceRequested, { ...wish, instanceId, adminPasswordHash });
        const { customerId, slug, odooVersion, plan } = wish;
        const known = { customerId, slug, odooVersion, plan, operationId };
        await this.views.merge(ctx, { instanceId, state: 'requested', ...known });
        return { instanceId, operationId };
      }),
    );
    const secret = repeated ? { adminPassword: null, passwordReset } : { adminPassword, passwordReset: null };
    return { ...answer, adminLogin: wish.adminLogin, ...secret };
  }

  private async refuseWhatIsKnown(slug: string, instanceId: string | undefined): Promise<void> {
    if (instanceId && (await this.views.get(instanceId))) throw new InstanceExists(`${instanceId} is known already`);
    const holder = await this.views.holderOf(slug);
    if (holder && holder !== instanceId) throw new SlugTaken(`${slug} belongs to another instance`);
  }
}
