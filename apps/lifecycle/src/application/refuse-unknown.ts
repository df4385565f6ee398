import { Injectable } from '@nestjs/common';
import { Outbox } from '#messaging/index.js';
import type { Lease, Outcome } from '#persistence/index.js';
import { EndOperation } from './end-operation.js';
import { Instances, Operations } from './ports.js';

/** A request for an instance that nobody had heard of was kept for a while: when it is not there yet, it is refused. */
@Injectable()
export class RefuseUnknown {
  constructor(
    private readonly instances: Instances,
    private readonly operations: Operations,
    private readonly end: EndOperation,
    private readonly outbox: Outbox,
  ) {}

  async reconcile(lease: Lease): Promise<Outcome> {
    await this.outbox.transaction({}, async (tx) => {
      await lease.hold(tx);
      const kept = await this.operations.get(tx, lease.key);
      if (kept?.status !== 'waiting' || (await this.instances.lock(tx, kept.instanceId))) return;
      const message = `there is no instance ${kept.instanceId}, and none came while its request was kept`;
      await this.end.refused(tx, kept, { code: 'UNKNOWN_INSTANCE', fault: 'user', message });
    });
    return 'done';
  }
}
