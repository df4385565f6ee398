import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { type InputOf, InstanceRequested, newId } from '#contracts/index.js';
import { Outbox } from '#messaging/index.js';
import { hashPassword } from '#odoo/index.js';
import { InstanceViews } from './ports.js';

export type InstanceWish = Omit<InputOf<typeof InstanceRequested>, 'instanceId' | 'adminPasswordHash'> & {
  readonly instanceId?: string | undefined;
};

export interface Accepted {
  readonly instanceId: string;
  readonly operationId: string;
  /** Shown this once; nobody keeps it. */
  readonly adminPassword: string;
}

export class SlugTaken extends Error {}

/** Asks the planner for an instance, with a first password that is made here and leaves only as a hash. */
@Injectable()
export class RequestInstance {
  constructor(
    private readonly views: InstanceViews,
    private readonly outbox: Outbox,
  ) {}

  /** Throws SlugTaken when the read model knows the name; the planner has the last word either way. */
  async request(wish: InstanceWish, traceparent: string | undefined): Promise<Accepted> {
    const holder = await this.views.holderOf(wish.slug);
    if (holder && holder !== wish.instanceId) throw new SlugTaken(`${wish.slug} belongs to another instance`);
    const instanceId = wish.instanceId ?? newId();
    const adminPassword = randomBytes(15).toString('base64url');
    const adminPasswordHash = await hashPassword(adminPassword);
    const operationId = await this.outbox.transaction({ traceparent }, async (ctx) => {
      const id = await ctx.publish(InstanceRequested, { ...wish, instanceId, adminPasswordHash });
      await this.views.merge(ctx, {
        instanceId,
        state: 'requested',
        customerId: wish.customerId,
        slug: wish.slug,
        odooVersion: wish.odooVersion,
        plan: wish.plan,
        operationId: id,
      });
      return id;
    });
    return { instanceId, operationId, adminPassword };
  }
}
