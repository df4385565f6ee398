import { z } from 'zod';
import { BackupCompleted, backupReasons, InstanceRequested, instanceStates, restoreModes } from '#contracts/index.js';
import { parkedStatuses } from '../application/ports.js';
import { roles } from '../domain/access.js';
import { backupStates } from '../domain/backup-view.js';
import { viewStates } from '../domain/instance-view.js';
import { operationStates } from '../domain/operation.js';
import { restoreStates } from '../domain/restore-view.js';
import { problemCodes } from './problem.js';

/** What the API answers, as its OpenAPI document shows it. Moments are RFC 3339 in UTC. */

const moment = z.date();
const fault = z.enum(['user', 'platform', 'provider']);

/** An id that a database counts, as text: it outgrows what JSON's numbers hold. */
export const countedId = z.string().regex(/^[1-9][0-9]{0,17}$/, 'is not an id of this list');

export const Page = <Item extends z.ZodType, Next extends z.ZodType>(item: Item, next: Next, as: string) =>
  z.strictObject({
    items: z.array(item),
    next: next.nullable().describe(`Send it as \`${as}\` for the following page; null: this is the last one.`),
  });

export const Instance = z
  .strictObject({
    instanceId: z.uuid(),
    customerId: z.string().nullable(),
    slug: z.string().nullable(),
    host: z.string().nullable(),
    customDomains: z.array(z.string()).describe('Those of its customer, at which it is found beside its host.'),
    url: z.string().nullable(),
    verified: z
      .string()
      .nullable()
      .describe('How it was seen to be ready: `http`, a real answer; `pod-condition`, a simulated node said so.'),
    plan: z.string().nullable(),
    odooVersion: z.string().nullable(),
    image: z
      .string()
      .nullable()
      .describe('What it runs on; null: lifecycle has not spoken of it yet, as with `desired`.'),
    state: z.enum(viewStates),
    reason: z
      .string()
      .nullable()
      .describe('Why it is in this state: a word, or the code of what it waits for or failed by.'),
    message: z.string().nullable(),
    step: z.string().nullable().describe('The last step of its making.'),
    desired: z.enum(instanceStates).nullable().describe('Where it is to be once nothing is under way any more.'),
    operation: z
      .strictObject({ operationId: z.string(), operation: z.string() })
      .nullable()
      .describe('What is under way.'),
    operationId: z.string().describe('Of the request that made it.'),
    footprintId: z.uuid().nullable(),
    previousFootprintId: z
      .uuid()
      .nullable()
      .describe('The one it lived in before, as long as it can be switched back.'),
    cell: z.string().nullable(),
    timings: z.record(z.string(), z.number()).nullable().describe('Milliseconds per step of its making.'),
    lastBackup: z
      .strictObject({
        backupId: z.uuid(),
        takenAt: moment.describe('The moment it shows.'),
        verified: z.boolean(),
        ageSeconds: z.int().describe('How much would be lost by going back to it; rounded down to a minute.'),
      })
      .nullable()
      .describe('The newest from which it could be had again.'),
    createdAt: moment,
    updatedAt: moment,
    stateSince: moment.describe('Since when it is in this state; where it waits for something, since when for that.'),
  })
  .meta({ id: 'Instance' });

export const TimelineEntry = z
  .strictObject({
    id: countedId,
    fact: z.string().describe('`instance.ready`: the fact without its version.'),
    at: moment.describe('When its publisher said it.'),
    who: z.string().describe('The service that said it.'),
    summary: z.string(),
    reason: z.string().nullable(),
    fault: fault.nullable(),
    operationId: z.string(),
    traceId: z.string().nullable(),
  })
  .meta({ id: 'TimelineEntry' });

export const Explanation = z
  .strictObject({
    state: z.enum(viewStates),
    reason: z.string().nullable(),
    message: z.string().nullable(),
    since: moment,
    waitsFor: z.string().nullable().describe('What has to happen before it goes on; null: it is where it was to be.'),
    fault: fault.nullable().describe('Whose turn it is, or whose doing it was.'),
    next: z.string(),
    traceId: z.string().nullable().describe('Of its beginning.'),
  })
  .meta({ id: 'Explanation' });

export const Operation = z
  .strictObject({
    operationId: z.string(),
    instanceId: z.uuid(),
    action: z.string().nullable().describe('`stop`: as it was asked for here; null: not as an action of this API.'),
    state: z.enum(operationStates),
    traceId: z.string().nullable(),
    reason: z.string().nullable().describe('Why it waits or failed; of the last fact that gave one.'),
    facts: z.array(TimelineEntry),
  })
  .meta({ id: 'Operation' });

/** What may be asked for: the contract's fields, less those that are made here. */
export const Wish = InstanceRequested.data
  .omit({ adminPasswordHash: true })
  .extend({ instanceId: z.uuid().toLowerCase().optional().describe('Made here when it is left out.') })
  .strict()
  .meta({ id: 'InstanceWish' });

export const Accepted = z
  .strictObject({
    instanceId: z.uuid(),
    operationId: z.string(),
    adminLogin: z.string(),
    adminPassword: z
      .string()
      .nullable()
      .describe('Shown this once, and kept nowhere; null when the request was a repeat.'),
    passwordReset: z.string().nullable().describe('How to get another password, when this answer has none.'),
  })
  .meta({ id: 'AcceptedInstance' });

export const AcceptedAction = z
  .strictObject({ operationId: z.string(), instanceId: z.uuid() })
  .meta({ id: 'AcceptedAction' });

const operationId = z.string().nullable().describe('Of the request, where it was asked for here.');
const requestedBy = z.string().nullable().describe('The key that asked, where it was asked for here.');

export const Backup = z
  .strictObject({
    backupId: z.uuid(),
    instanceId: z.uuid(),
    state: z
      .enum(backupStates)
      .describe(
        '`failed`: it was not made, or a proof has shown that it is not good. `verified`: a proof has shown that it is.',
      ),
    why: z.enum(backupReasons).nullable(),
    takenAt: moment.nullable().describe('The moment it shows; null: it is not there.'),
    template: BackupCompleted.data.shape.template.nullable().describe('What ran when it was made.'),
    databaseBytes: z.int().nullable(),
    filesBytes: z.int().nullable(),
    files: z.int().nullable(),
    checksum: z.string().nullable().describe('SHA-256 of the dump of its database, in hex.'),
    expiresAt: moment.nullable().describe('When its time is over, if nobody holds it.'),
    verifiedAt: moment.nullable().describe('Of the last proof.'),
    depth: z
      .enum(['full', 'light'])
      .nullable()
      .describe('`full`: it was restored. `light`: its copies were looked at.'),
    offSite: z.boolean().nullable().describe('The copy outside of the cluster was read back.'),
    filesSeen: z
      .enum(['read', 'simulated'])
      .nullable()
      .describe('`simulated`: a simulated node ran nothing, so that there were no files to read.'),
    rtoMs: z.int().nullable().describe('How long the restore of the proof took.'),
    rows: z.int().nullable().describe('That the proof has counted.'),
    held: z.boolean().describe('It is kept until somebody says otherwise.'),
    holdReason: z.string().nullable(),
    expiredAt: moment.nullable(),
    code: z.string().nullable().describe('Of a failure or a refusal.'),
    message: z.string().nullable(),
    operationId,
    requestedBy,
    reason: z.string().nullable().describe('That was given here.'),
    notedAt: moment.describe('When it became known here.'),
  })
  .meta({ id: 'Backup' });

export const AcceptedBackup = z
  .strictObject({ backupId: z.uuid(), operationId: z.string(), instanceId: z.uuid() })
  .meta({ id: 'AcceptedBackup' });

const clone = z.strictObject({ instanceId: z.uuid(), slug: z.string(), customerId: z.string() });

export const Restore = z
  .strictObject({
    restoreId: z.uuid(),
    instanceId: z.uuid().describe('Of a clone: the instance that the backup is of.'),
    backupId: z.uuid(),
    mode: z.enum(restoreModes),
    to: clone.nullable().describe('Of a clone: the new instance.'),
    state: z.enum(restoreStates),
    progress: z
      .strictObject({
        step: z.string(),
        number: z.int().describe('Which of them it is, from 1 on.'),
        of: z.int(),
        steps: z.array(z.string()).readonly(),
        since: moment,
      })
      .nullable()
      .describe('The step that was told of last; null: none was.'),
    message: z.string().nullable().describe('Of the step, the failure or the refusal.'),
    code: z.string().nullable(),
    footprintId: z.uuid().nullable().describe('Where what the backup has stands.'),
    safetyBackupId: z.uuid().nullable().describe('The instance as it was just before.'),
    durationMs: z.int().nullable().describe('From the request on.'),
    rows: z.int().nullable(),
    files: z.int().nullable(),
    operationId,
    requestedBy,
    reason: z.string().nullable(),
    notedAt: moment.describe('When it became known here.'),
    endedAt: moment.nullable(),
  })
  .meta({ id: 'Restore' });

export const AcceptedRestore = z
  .strictObject({
    restoreId: z.uuid(),
    operationId: z.string(),
    instanceId: z.uuid(),
    to: clone
      .extend({ url: z.string().nullable().describe('Where it will be found; null: nobody can say yet.') })
      .nullable()
      .describe('Of a clone: the new instance.'),
  })
  .meta({ id: 'AcceptedRestore' });

export const Event = TimelineEntry.omit({ id: true })
  .extend({ instanceId: z.uuid(), customerId: z.string().nullable() })
  .meta({ id: 'Event' });

export const ParkedMessage = z
  .strictObject({
    id: countedId,
    parkedAt: moment,
    service: z.string().nullable(),
    queue: z.string(),
    type: z.string().nullable(),
    messageId: z.string().nullable(),
    routingKey: z.string(),
    publisher: z.string().nullable(),
    reason: z.string(),
    error: z.string(),
    attempts: z.int(),
    traceparent: z.string().nullable(),
    bodyBytes: z.int(),
    status: z
      .enum(parkedStatuses)
      .describe('`superseded`: it was put back, and changed nothing, because a later fact had been handled meanwhile.'),
    statusSince: moment,
    statusReason: z.string().nullable(),
    replayOf: countedId.nullable().describe('The one that was put back and is parked here again.'),
  })
  .meta({ id: 'ParkedMessage' });

export const ParkedMessageWithBody = ParkedMessage.extend({
  body: z.string().optional().describe('Where it is UTF-8.'),
  bodyBase64: z.string().optional().describe('Where it is not.'),
}).meta({ id: 'ParkedMessageWithBody' });

export const Cell = z
  .strictObject({
    cell: z.string(),
    namespace: z.string(),
    open: z.boolean().describe('Takes new instances.'),
    places: z.int(),
    reserved: z.int(),
    free: z.int(),
    shards: z.array(z.string()).readonly(),
    updatedAt: moment,
  })
  .meta({ id: 'Cell' });

export const Capacity = z
  .strictObject({
    cells: z.int(),
    openCells: z.int(),
    places: z.int(),
    reserved: z.int(),
    free: z.int().describe('In open cells.'),
    waiting: z
      .strictObject({ instances: z.int(), since: moment.nullable() })
      .describe('Accepted, and without a place; since when the longest waits.'),
  })
  .meta({ id: 'Capacity' });

export const ApiKey = z
  .strictObject({
    id: z.string(),
    name: z.string(),
    role: z.enum(roles),
    customerId: z.string().nullable(),
    createdAt: moment,
    createdBy: z.string(),
    endsAt: moment.nullable().describe('From then on it is not believed: it was made for so long, rotated or revoked.'),
    endedBy: z.string().nullable(),
    replacedBy: z.string().nullable().describe('The key that it was rotated to.'),
  })
  .meta({ id: 'ApiKey' });

export const NewApiKey = ApiKey.extend({
  key: z.string().nullable().describe('Shown this once, and kept nowhere; null when the request was a repeat.'),
}).meta({ id: 'NewApiKey' });

export const ReadModel = z
  .strictObject({
    state: z
      .enum(['complete', 'rebuilding'])
      .describe('`complete`: all owners have said what is current; the last of it may be on its way for a moment.'),
    generation: z.int().describe('Counts the rebuilds.'),
    startedAt: moment.nullable().describe('Of the last rebuild.'),
    waitsFor: z.array(z.string()).readonly().describe('Services that have not told all that is current yet.'),
    instances: z.int(),
    notToldAgain: z
      .int()
      .describe('Instances of which nobody told anew since the last rebuild began. They are kept: silence is no end.'),
  })
  .meta({ id: 'ReadModel' });

export const ProblemBody = z
  .strictObject({
    type: z.string(),
    status: z.int(),
    title: z.string(),
    detail: z.string().optional(),
    instance: z.string().optional().describe('The id of the request, as in the header X-Request-Id.'),
    code: z.enum(problemCodes),
    fault: z.enum(['user', 'platform']),
    next: z.string().describe('What to do about it.'),
  })
  .meta({ id: 'Problem', description: 'RFC 9457.' });

/** Of requests that may be repeated without harm. */
export const Repeatable = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[!-~]{1,128}$/, 'is not 1 to 128 printable characters without blanks')
    .optional()
    .describe('Your own id for this request. Repeated with it within a day, it is done once and answered again.'),
});
