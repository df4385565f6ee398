import { Controller } from '@nestjs/common';
import { z } from 'zod';
import { RestoreRequested } from '#contracts/index.js';
import { UnknownInstance } from '../application/act-on-instance.js';
import { InstanceViews, RestoreViews } from '../application/ports.js';
import { UnknownBackup } from '../application/request-backup.js';
import { InstanceExists, SlugTaken } from '../application/request-instance.js';
import { BackupNotThere, BackupOfAnother, RequestRestore, TargetMisplaced } from '../application/request-restore.js';
import { sees } from '../domain/access.js';
import { progressOf } from '../domain/restore-view.js';
import { Problem, type ProblemCode } from './problem.js';
import { withoutReuse } from './repeats.js';
import type { Call } from './route.js';
import { Serves } from './serves.js';
import { AcceptedRestore, Repeatable, Restore } from './shapes.js';

const { backupId, mode, to, reason } = RestoreRequested.data.shape;

const Request = {
  id: 'requestRestore',
  method: 'post',
  path: '/v1/instances/{instanceId}/restores',
  summary: 'Asks for an instance to be as a backup of it has it, or for another one that is made of that',
  description:
    'Answered at once; what becomes of it shows in the restore and in its operation. Whatever the mode, what the backup has is brought to a place of its own first, and the instance is switched to it when it is good; it can be switched back for a while. A clone sends no mails and runs no crons.',
  right: { role: 'operator', scope: 'customer' },
  params: z.strictObject({ instanceId: z.uuid() }),
  headers: Repeatable,
  body: z.strictObject({
    backupId,
    mode,
    to: z
      .strictObject({
        ...to.unwrap().shape,
        instanceId: z.uuid().toLowerCase().optional().describe('Made here when it is left out.'),
      })
      .optional()
      .describe('With the mode clone alone: the instance that it is to be.'),
    reason,
  }),
  status: 202,
  answer: AcceptedRestore,
  answerHeaders: { Location: 'Of the operation.' },
  problems: [
    ...(['bad-request', 'other-customer', 'unknown-instance', 'unknown-backup', 'backup-of-another'] as const),
    ...(['backup-not-there', 'slug-taken', 'instance-exists', 'target-misplaced', 'body-too-large'] as const),
    ...(['unsupported-media-type', 'idempotency-key-reused'] as const),
  ],
} as const;

const One = {
  id: 'getRestore',
  method: 'get',
  path: '/v1/restores/{restoreId}',
  summary: 'One restore, and how far it is',
  right: { role: 'viewer', scope: 'customer' },
  params: z.strictObject({ restoreId: z.uuid() }),
  status: 200,
  answer: Restore,
  problems: ['unknown-restore'],
} as const;

const refusals: readonly (readonly [new () => Error, ProblemCode])[] = [
  [UnknownInstance, 'unknown-instance'],
  [UnknownBackup, 'unknown-backup'],
  [BackupOfAnother, 'backup-of-another'],
  [BackupNotThere, 'backup-not-there'],
  [TargetMisplaced, 'target-misplaced'],
  [SlugTaken, 'slug-taken'],
  [InstanceExists, 'instance-exists'],
];

@Controller()
export class RestoresController {
  constructor(
    private readonly views: InstanceViews,
    private readonly restores: RestoreViews,
    private readonly requests: RequestRestore,
  ) {}

  @Serves(Request)
  async request({ params, body, headers, caller, traceparent, setHeader }: Call<typeof Request>) {
    if (body.to && !sees(caller, body.to.customerId)) throw new Problem('other-customer');
    try {
      const asking = { caller, key: headers['idempotency-key'], traceparent };
      const accepted = await withoutReuse(this.requests.request({ ...params, ...body }, asking));
      setHeader('Location', `/v1/operations/${accepted.operationId}`);
      return accepted;
    } catch (error) {
      const refusal = refusals.find(([type]) => error instanceof type);
      if (refusal) throw new Problem(refusal[1], (error as Error).message);
      throw error;
    }
  }

  @Serves(One)
  async one({ params, caller }: Call<typeof One>) {
    const restore = await this.restores.get(params.restoreId);
    const instance = restore && (await this.views.get(restore.instanceId));
    if (!restore || !sees(caller, instance?.customerId ?? null)) throw new Problem('unknown-restore');
    const { step: _, steps: _all, stepSince: _since, ...shown } = restore;
    return { ...shown, progress: progressOf(restore) };
  }
}
