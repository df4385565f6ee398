import { Injectable } from '@nestjs/common';
import {
  InstancePlaced,
  InstanceReady,
  type InstanceState,
  InstanceStateChanged,
  InstanceTerminated,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { weights } from '../domain/site.js';
import { Sites } from './ports.js';

@Injectable()
export class LearnPlacedHandler extends MessageHandler<typeof InstancePlaced> {
  constructor(private readonly sites: Sites) {
    super();
  }

  async handle({ instanceId, host }: PayloadOf<typeof InstancePlaced>, ctx: ConsumeContext): Promise<void> {
    await this.sites.learn(ctx, instanceId, weights.placed, { host, state: 'provisioning', reason: null });
  }
}

@Injectable()
export class LearnReadyHandler extends MessageHandler<typeof InstanceReady> {
  constructor(private readonly sites: Sites) {
    super();
  }

  async handle({ instanceId, host }: PayloadOf<typeof InstanceReady>, ctx: ConsumeContext): Promise<void> {
    await this.sites.learn(ctx, instanceId, weights.ready, { host, state: 'running', reason: null });
  }
}

@Injectable()
export class LearnStateHandler extends MessageHandler<typeof InstanceStateChanged> {
  constructor(private readonly sites: Sites) {
    super();
  }

  async handle(changed: PayloadOf<typeof InstanceStateChanged>, ctx: ConsumeContext): Promise<void> {
    const { instanceId, host, reason, customDomains } = changed;
    await this.sites.learn(
      ctx,
      instanceId,
      weights.lifecycle,
      { host, state: shownAs(changed), reason },
      customDomains,
    );
  }
}

/** Whoever comes while it starts or stops is told where it is going: it has left where it was. */
function shownAs({ state, desired, operation }: PayloadOf<typeof InstanceStateChanged>): InstanceState {
  if (!operation || state === 'maintenance' || state === 'terminating') return state;
  return desired === 'running' ? 'provisioning' : desired;
}

@Injectable()
export class LearnTerminatedHandler extends MessageHandler<typeof InstanceTerminated> {
  constructor(private readonly sites: Sites) {
    super();
  }

  async handle({ instanceId }: PayloadOf<typeof InstanceTerminated>, ctx: ConsumeContext): Promise<void> {
    await this.sites.end(ctx, instanceId, weights.ended);
  }
}
