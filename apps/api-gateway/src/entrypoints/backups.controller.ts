import { Controller } from '@nestjs/common';
import { z } from 'zod';
import { BackupHoldRequested } from '#contracts/index.js';
import { UnknownInstance } from '../application/act-on-instance.js';
import { BackupViews, InstanceViews } from '../application/ports.js';
import { RequestBackup, UnknownBackup } from '../application/request-backup.js';
import { type Caller, sees } from '../domain/access.js';
import { type BackupView, backupStates } from '../domain/backup-view.js';
import { Problem } from './problem.js';
import { withoutReuse } from './repeats.js';
import type { Call, Route } from './route.js';
import { Serves } from './serves.js';
import { AcceptedBackup, Backup, Page, Repeatable } from './shapes.js';

const view = { role: 'viewer', scope: 'customer' } as const;
const { reason } = BackupHoldRequested.data.shape;

const List = {
  id: 'listBackups',
  method: 'get',
  path: '/v1/instances/{instanceId}/backups',
  summary: 'Backups of an instance, newest first, a page at a time',
  right: view,
  params: z.strictObject({ instanceId: z.uuid() }),
  query: z.strictObject({
    state: z.enum(backupStates).optional(),
    after: z.uuid().optional(),
    limit: z.coerce.number().int().min(1).max(500).default(50),
  }),
  status: 200,
  answer: Page(Backup, z.uuid(), 'after'),
  problems: ['unknown-instance', 'unknown-backup'],
} as const;

const Request = {
  id: 'requestBackup',
  method: 'post',
  path: '/v1/instances/{instanceId}/backups',
  summary: 'Asks for a backup of an instance now',
  description: 'Answered at once; what becomes of it shows in its operation, and in the backup.',
  right: { role: 'operator', scope: 'customer' },
  params: z.strictObject({ instanceId: z.uuid() }),
  headers: Repeatable,
  body: z.strictObject({ reason: reason.optional() }),
  status: 202,
  answer: AcceptedBackup,
  answerHeaders: { Location: 'Of the operation.' },
  problems: [
    ...(['bad-request', 'unknown-instance', 'body-too-large'] as const),
    ...(['unsupported-media-type', 'idempotency-key-reused'] as const),
  ],
} as const;

const One = {
  id: 'getBackup',
  method: 'get',
  path: '/v1/backups/{backupId}',
  summary: 'One backup',
  right: view,
  params: z.strictObject({ backupId: z.uuid() }),
  status: 200,
  answer: Backup,
  problems: ['unknown-backup'],
} as const;

const Hold = holding('hold', 'holdBackup', 'Keeps a backup until somebody says otherwise');
const Release = holding('release-hold', 'releaseBackupHold', 'Lets a backup go when its time has come');

/** A legal hold is not its customer's to make or to lift. */
function holding(action: string, id: string, summary: string) {
  return {
    id,
    method: 'post',
    path: `/v1/backups/{backupId}/actions/${action}`,
    summary,
    description: 'Answered at once; what becomes of it shows in its operation.',
    right: { role: 'operator', scope: 'platform' },
    params: z.strictObject({ backupId: z.uuid() }),
    headers: Repeatable,
    body: z.strictObject({ reason }),
    status: 202,
    answer: AcceptedBackup,
    answerHeaders: { Location: 'Of the operation.' },
    problems: [
      ...(['bad-request', 'unknown-backup', 'body-too-large'] as const),
      ...(['unsupported-media-type', 'idempotency-key-reused'] as const),
    ],
  } as const satisfies Route;
}

@Controller()
export class BackupsController {
  constructor(
    private readonly views: InstanceViews,
    private readonly backups: BackupViews,
    private readonly requests: RequestBackup,
  ) {}

  @Serves(List)
  async list({ params, query: { limit, ...filter }, caller }: Call<typeof List>) {
    const instance = await this.views.get(params.instanceId);
    if (!instance || !sees(caller, instance.customerId)) throw new Problem('unknown-instance');
    const found = await this.backups.of(instance.instanceId, { ...filter, limit: limit + 1 });
    // An end that is none would end somebody's reading unseen.
    if (found.length === 0 && filter.after) await this.known(filter.after, caller);
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? items.at(-1)!.backupId : null };
  }

  @Serves(Request)
  async request({ params, body, headers, caller, traceparent, setHeader }: Call<typeof Request>) {
    try {
      const asking = { caller, key: headers['idempotency-key'], traceparent };
      const wanted = { instanceId: params.instanceId, reason: body.reason };
      const accepted = await withoutReuse(this.requests.request(wanted, asking));
      setHeader('Location', `/v1/operations/${accepted.operationId}`);
      return accepted;
    } catch (error) {
      if (error instanceof UnknownInstance) throw new Problem('unknown-instance');
      throw error;
    }
  }

  @Serves(One)
  async one({ params, caller }: Call<typeof One>) {
    return await this.known(params.backupId, caller);
  }

  @Serves(Hold)
  async hold(call: Call<typeof Hold>) {
    return await this.setHold(call, true);
  }

  @Serves(Release)
  async release(call: Call<typeof Release>) {
    return await this.setHold(call, false);
  }

  private async setHold(call: Call<typeof Hold>, hold: boolean) {
    const { params, body, headers, caller, traceparent, setHeader } = call;
    try {
      const asking = { caller, key: headers['idempotency-key'], traceparent };
      const wanted = { backupId: params.backupId, hold, reason: body.reason };
      const accepted = await withoutReuse(this.requests.hold(wanted, asking));
      setHeader('Location', `/v1/operations/${accepted.operationId}`);
      return accepted;
    } catch (error) {
      if (error instanceof UnknownBackup) throw new Problem('unknown-backup');
      throw error;
    }
  }

  /** What belongs to somebody else is not there either. */
  private async known(backupId: string, caller: Caller): Promise<BackupView> {
    const backup = await this.backups.get(backupId);
    const instance = backup && (await this.views.get(backup.instanceId));
    if (backup && sees(caller, instance?.customerId ?? null)) return backup;
    throw new Problem('unknown-backup');
  }
}
