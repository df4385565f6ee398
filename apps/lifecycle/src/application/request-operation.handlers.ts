import { Injectable } from '@nestjs/common';
import {
  InstanceQuiesceRequested,
  InstanceReleaseRequested,
  InstanceRenameRequested,
  InstanceResizeRequested,
  InstanceRestartRequested,
  InstanceResumeRequested,
  InstanceStartRequested,
  InstanceStopRequested,
  InstanceSuspendRequested,
  InstanceSwitchBackRequested,
  InstanceTerminationCancelRequested,
  InstanceTerminationRequested,
  InstanceUpgradeRequested,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { RequestOperation } from './request-operation.js';

/** One short handler per request: each says which operation it asks for, and with what. */

@Injectable()
export class StartHandler extends MessageHandler<typeof InstanceStartRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceStartRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'start', asked);
  }
}

@Injectable()
export class StopHandler extends MessageHandler<typeof InstanceStopRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceStopRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'stop', asked);
  }
}

@Injectable()
export class RestartHandler extends MessageHandler<typeof InstanceRestartRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceRestartRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'restart', asked);
  }
}

@Injectable()
export class SuspendHandler extends MessageHandler<typeof InstanceSuspendRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceSuspendRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'suspend', asked, { why: asked.why });
  }
}

@Injectable()
export class ResumeHandler extends MessageHandler<typeof InstanceResumeRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceResumeRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'resume', asked);
  }
}

@Injectable()
export class ResizeHandler extends MessageHandler<typeof InstanceResizeRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceResizeRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'resize', asked, { plan: asked.plan });
  }
}

@Injectable()
export class UpgradeHandler extends MessageHandler<typeof InstanceUpgradeRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceUpgradeRequested>, ctx: ConsumeContext): Promise<void> {
    const { to, modules, rehearse } = asked;
    await this.operations.accept(ctx, 'upgrade', asked, { to, ...(modules && { modules }), rehearse });
  }
}

@Injectable()
export class RenameHandler extends MessageHandler<typeof InstanceRenameRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceRenameRequested>, ctx: ConsumeContext): Promise<void> {
    const { slug, customDomains } = asked;
    // In one order, whichever they came in: who asks for the same asks for the same.
    await this.operations.accept(ctx, 'rename', asked, { slug, customDomains: customDomains?.toSorted() });
  }
}

@Injectable()
export class QuiesceHandler extends MessageHandler<typeof InstanceQuiesceRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceQuiesceRequested>, ctx: ConsumeContext): Promise<void> {
    const { purpose, deadline } = asked;
    await this.operations.accept(ctx, 'quiesce', asked, { purpose, deadline });
  }
}

@Injectable()
export class ReleaseHandler extends MessageHandler<typeof InstanceReleaseRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceReleaseRequested>, ctx: ConsumeContext): Promise<void> {
    const { token, footprintId } = asked;
    await this.operations.accept(ctx, 'release', asked, { token, ...(footprintId && { footprintId }) });
  }
}

@Injectable()
export class SwitchBackHandler extends MessageHandler<typeof InstanceSwitchBackRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceSwitchBackRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'switch-back', asked, { footprintId: asked.footprintId });
  }
}

@Injectable()
export class TerminateHandler extends MessageHandler<typeof InstanceTerminationRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceTerminationRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'terminate', asked, asked.at === undefined ? {} : { at: asked.at });
  }
}

@Injectable()
export class CancelTerminationHandler extends MessageHandler<typeof InstanceTerminationCancelRequested> {
  constructor(private readonly operations: RequestOperation) {
    super();
  }

  async handle(asked: PayloadOf<typeof InstanceTerminationCancelRequested>, ctx: ConsumeContext): Promise<void> {
    await this.operations.accept(ctx, 'cancel-termination', asked);
  }
}
