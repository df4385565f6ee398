import { Injectable } from '@nestjs/common';
import {
  InstancePlaced,
  InstancePlacementDeferred,
  InstanceProvisioningFailed,
  InstanceProvisioningProgressed,
  InstanceReady,
  InstanceRefused,
  InstanceStateChanged,
  InstanceTerminated,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { InstanceViews } from './ports.js';

/** One short handler per fact: each says what the fact lets the read model know. */

@Injectable()
export class ProjectPlacedHandler extends MessageHandler<typeof InstancePlaced> {
  constructor(private readonly views: InstanceViews) {
    super();
  }

  async handle(placed: PayloadOf<typeof InstancePlaced>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, specification, host, plan, footprintId, cell, requestId } = placed;
    await this.views.merge(ctx, {
      instanceId,
      state: 'placed',
      customerId: specification.customerId,
      slug: specification.slug,
      odooVersion: specification.odooVersion,
      plan: plan.name,
      operationId: requestId,
      host,
      footprintId,
      cell,
      reason: null,
      message: null,
    });
  }
}

@Injectable()
export class ProjectRefusedHandler extends MessageHandler<typeof InstanceRefused> {
  constructor(private readonly views: InstanceViews) {
    super();
  }

  async handle(refused: PayloadOf<typeof InstanceRefused>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, requestId, code, message } = refused;
    const known = await this.views.get(instanceId, ctx);
    // A wrong repeat must not touch a living instance: the refusal is about that request only.
    if (known && known.operationId !== requestId) return;
    await this.views.merge(ctx, { instanceId, state: 'refused', operationId: requestId, reason: code, message });
  }
}

@Injectable()
export class ProjectDeferredHandler extends MessageHandler<typeof InstancePlacementDeferred> {
  constructor(private readonly views: InstanceViews) {
    super();
  }

  async handle(deferred: PayloadOf<typeof InstancePlacementDeferred>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, reason, message } = deferred;
    await this.views.merge(ctx, { instanceId, state: 'waiting', reason, message });
  }
}

@Injectable()
export class ProjectProgressHandler extends MessageHandler<typeof InstanceProvisioningProgressed> {
  constructor(private readonly views: InstanceViews) {
    super();
  }

  async handle(progress: PayloadOf<typeof InstanceProvisioningProgressed>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, footprintId, step, condition } = progress;
    await this.views.merge(ctx, {
      instanceId,
      footprintId,
      state: 'provisioning',
      step,
      reason: condition?.reason ?? null,
      message: condition?.message ?? null,
    });
  }
}

@Injectable()
export class ProjectFailedHandler extends MessageHandler<typeof InstanceProvisioningFailed> {
  constructor(private readonly views: InstanceViews) {
    super();
  }

  async handle(failed: PayloadOf<typeof InstanceProvisioningFailed>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, code, message } = failed;
    await this.views.merge(ctx, { instanceId, state: 'failed', reason: code, message });
  }
}

@Injectable()
export class ProjectReadyHandler extends MessageHandler<typeof InstanceReady> {
  constructor(private readonly views: InstanceViews) {
    super();
  }

  async handle(ready: PayloadOf<typeof InstanceReady>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, footprintId, customerId, cell, host, url, verified, timings } = ready;
    await this.views.merge(ctx, {
      instanceId,
      state: 'running',
      plan: ready.plan.name,
      step: 'ready',
      reason: null,
      message: null,
      footprintId,
      customerId,
      cell,
      host,
      url,
      verified,
      timings,
    });
  }
}

@Injectable()
export class ProjectStateHandler extends MessageHandler<typeof InstanceStateChanged> {
  constructor(private readonly views: InstanceViews) {
    super();
  }

  async handle(changed: PayloadOf<typeof InstanceStateChanged>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, state, reason, since, desired, image, host, cell, footprintId, operation = null } = changed;
    await this.views.merge(ctx, {
      instanceId,
      lifecycle: { state, reason, since },
      desired,
      plan: changed.plan.name,
      image,
      host,
      // The planner gives no other names.
      slug: host.split('.')[0]!,
      customDomains: changed.customDomains ?? [],
      footprintId,
      previousFootprintId: changed.previousFootprintId ?? null,
      ...(cell && { cell }),
      operation,
    });
  }
}

@Injectable()
export class ProjectTerminatedHandler extends MessageHandler<typeof InstanceTerminated> {
  constructor(private readonly views: InstanceViews) {
    super();
  }

  async handle({ instanceId }: PayloadOf<typeof InstanceTerminated>, ctx: ConsumeContext): Promise<void> {
    await this.views.merge(ctx, {
      instanceId,
      state: 'terminated',
      url: null,
      reason: null,
      message: null,
      step: null,
    });
  }
}
