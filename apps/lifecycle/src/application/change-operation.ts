import { Injectable } from '@nestjs/common';
import { Outbox, type PublishContext } from '#messaging/index.js';
import type { Lease } from '#persistence/index.js';
import type { Instance } from '../domain/instance.js';
import type { Operation } from '../domain/operation.js';
import { Instances, Operations } from './ports.js';
import { causeOf } from './telling.js';

/** What is saved and said for an operation, within its trace and because of its request. */
@Injectable()
export class ChangeOperation {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly outbox: Outbox,
  ) {}

  /**
   * Only while the lease is held, and the operation is where it was when it was looked at.
   * @returns what `work` says; undefined also when the operation is elsewhere.
   */
  async make<T>(
    lease: Lease,
    operation: Operation,
    work: (ctx: PublishContext, instance: Instance, current: Operation) => Promise<T>,
    what: 'progress' | 'note' = 'progress',
  ): Promise<T | undefined> {
    return await this.outbox.transaction(causeOf(operation), async (ctx) => {
      // In the order in which those lock who ask for something, so that neither waits for the other.
      const instance = await this.instances.lock(ctx, operation.instanceId);
      await lease.hold(ctx, what);
      const current = await this.operations.get(ctx, operation.operationId);
      if (!instance || current?.status !== operation.status || current.stage !== operation.stage) return undefined;
      if (Boolean(current.progress.failure) !== Boolean(operation.progress.failure)) return undefined;
      return await work(ctx, instance, current);
    });
  }
}
