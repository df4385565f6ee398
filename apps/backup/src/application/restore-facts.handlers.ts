import { Injectable } from '@nestjs/common';
import {
  FootprintFailed,
  FootprintRefused,
  FootprintRemovalRefused,
  FootprintRemovalRequested,
  FootprintRemoved,
  InstanceOperationFailed,
  InstanceOperationRefused,
  InstanceRefused,
  type PayloadOf,
} from '#contracts/index.js';
import { type ConsumeContext, MessageHandler } from '#messaging/index.js';
import { JobQueue } from '#persistence/index.js';
import type { Refusal } from '../domain/instance.js';
import type { Progress, Restore } from '../domain/restore.js';
import { Instances, Restores } from './ports.js';

type Asked = 'quiesce' | 'release' | 'let go';

/** What others answer to a restore: each is noted, and its reconciler goes on. */
@Injectable()
export class NoteAnswer {
  constructor(
    private readonly restores: Restores,
    private readonly jobs: JobQueue,
  ) {}

  /** To the restore that has asked this of an instance; nobody's answer is not ours. */
  async toOperation(
    ctx: ConsumeContext,
    { instanceId, operationId }: { instanceId: string; operationId: string },
    what: (asked: Asked, restore: Restore) => Progress | undefined,
  ): Promise<void> {
    for (const restore of await this.restores.lockOpenOf(ctx, instanceId)) {
      const { quiesceAsked, releaseAsked, letGoAsked } = restore.progress;
      if (operationId === quiesceAsked) await this.note(ctx, restore, what('quiesce', restore));
      if (operationId === releaseAsked) await this.note(ctx, restore, what('release', restore));
      if (operationId === letGoAsked) await this.note(ctx, restore, what('let go', restore));
    }
  }

  /** To whoever holds the instance by this token, whoever asked for its end. */
  async toHolder(
    ctx: ConsumeContext,
    { instanceId, token, footprintId }: { instanceId: string; token: string; footprintId: string },
  ): Promise<void> {
    for (const restore of await this.restores.lockOpenOf(ctx, instanceId)) {
      const released = footprintId === restore.footprintId ? 'switched' : 'as before';
      if (restore.progress.token === token) await this.note(ctx, restore, { released });
    }
  }

  async toFootprint(ctx: ConsumeContext, footprintId: string, what: (restore: Restore) => Progress): Promise<void> {
    const restore = await this.restores.lockOfFootprint(ctx, footprintId);
    if (restore) await this.note(ctx, restore, what(restore));
  }

  async note(ctx: ConsumeContext, restore: Restore, more: Progress | undefined): Promise<void> {
    if (!more || restore.status === 'ended') return;
    await this.restores.save(ctx, { ...restore, progress: { ...restore.progress, ...more } });
    await this.jobs.ask(ctx, { kind: 'restore', key: restore.restoreId });
  }
}

/** Where there is no room now there may be some later. */
@Injectable()
export class HearOfNoFootprintHandler extends MessageHandler<typeof FootprintRefused> {
  constructor(private readonly note: NoteAnswer) {
    super();
  }

  async handle(refused: PayloadOf<typeof FootprintRefused>, ctx: ConsumeContext): Promise<void> {
    const { footprintId, code, fault, message } = refused;
    const answer: Progress = code === 'NO_ROOM' ? { noRoomAt: Date.now() } : { failure: { code, fault, message } };
    // Nobody makes it, so that nobody can remove it.
    await this.note.toFootprint(ctx, footprintId, () => ({ ...answer, footprintAsked: undefined }));
  }
}

@Injectable()
export class HearOfFailedFootprintHandler extends MessageHandler<typeof FootprintFailed> {
  constructor(private readonly note: NoteAnswer) {
    super();
  }

  async handle(failed: PayloadOf<typeof FootprintFailed>, ctx: ConsumeContext): Promise<void> {
    const { footprintId, code, fault, message } = failed;
    await this.note.toFootprint(ctx, footprintId, () => ({ failure: { code, fault, message } }));
  }
}

@Injectable()
export class HearOfRemovedFootprintHandler extends MessageHandler<typeof FootprintRemoved> {
  constructor(
    private readonly instances: Instances,
    private readonly note: NoteAnswer,
  ) {
    super();
  }

  async handle({ footprintId }: PayloadOf<typeof FootprintRemoved>, ctx: ConsumeContext): Promise<void> {
    await this.instances.forgetFootprint(ctx, footprintId);
    await this.note.toFootprint(ctx, footprintId, () => ({ footprint: null }));
  }
}

/** Somebody lives in it: then it is nobody's to remove, and it was not ours any more. */
@Injectable()
export class LeaveFootprintHandler extends MessageHandler<typeof FootprintRemovalRefused> {
  constructor(private readonly note: NoteAnswer) {
    super();
  }

  async handle({ footprintId }: PayloadOf<typeof FootprintRemovalRefused>, ctx: ConsumeContext): Promise<void> {
    await this.note.toFootprint(ctx, footprintId, () => ({ footprint: null }));
  }
}

/** A clone that gets no name is nobody's: what was filled for it goes again. */
@Injectable()
export class DropCloneHandler extends MessageHandler<typeof InstanceRefused> {
  constructor(private readonly restores: Restores) {
    super();
  }

  async handle(
    { instanceId, requestId, message }: PayloadOf<typeof InstanceRefused>,
    ctx: ConsumeContext,
  ): Promise<void> {
    const clone = await this.restores.lockCloneFor(ctx, instanceId, requestId);
    if (!clone || clone.progress.removalAsked) return;
    const reason = `no instance is made of it: ${message}`.slice(0, 500);
    const removalAsked = await ctx.publish(FootprintRemovalRequested, { footprintId: clone.footprintId, reason });
    await this.restores.save(ctx, { ...clone, progress: { ...clone.progress, removalAsked } });
  }
}

@Injectable()
export class HearOfRefusalHandler extends MessageHandler<typeof InstanceOperationRefused> {
  constructor(private readonly note: NoteAnswer) {
    super();
  }

  async handle(fact: PayloadOf<typeof InstanceOperationRefused>, ctx: ConsumeContext): Promise<void> {
    await this.note.toOperation(ctx, fact, (asked, restore) => refused(asked, restore, fact));
  }
}

@Injectable()
export class HearOfFailureHandler extends MessageHandler<typeof InstanceOperationFailed> {
  constructor(private readonly note: NoteAnswer) {
    super();
  }

  async handle(fact: PayloadOf<typeof InstanceOperationFailed>, ctx: ConsumeContext): Promise<void> {
    await this.note.toOperation(ctx, fact, (asked, restore) => refused(asked, restore, fact));
  }
}

/** Who asks for it and is refused holds nothing; who asks to be let go, and is refused, holds nothing any more. */
function refused(asked: Asked, { progress }: Restore, { code, fault, message }: Refusal): Progress {
  const failure = progress.failure ?? { code, fault, message };
  return asked === 'let go' || asked === 'quiesce'
    ? { failure, released: progress.released ?? 'as before' }
    : { failure };
}
