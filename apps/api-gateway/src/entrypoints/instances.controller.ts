import { Controller } from '@nestjs/common';
import { z } from 'zod';
import { BackupViews, InstanceViews, instanceOrders, RestoreViews, Timeline } from '../application/ports.js';
import { InstanceExists, RequestInstance, SlugTaken } from '../application/request-instance.js';
import { type Caller, sees } from '../domain/access.js';
import { explain, waitsForRestore } from '../domain/explanation.js';
import { type InstanceView, viewStates } from '../domain/instance-view.js';
import { Problem } from './problem.js';
import { withoutReuse } from './repeats.js';
import type { Call } from './route.js';
import { Serves } from './serves.js';
import { Accepted, countedId, Explanation, Instance, Page, Repeatable, TimelineEntry, Wish } from './shapes.js';

const params = z.strictObject({ instanceId: z.uuid() });
const view = { role: 'viewer', scope: 'customer' } as const;

const Request = {
  id: 'requestInstance',
  method: 'post',
  path: '/v1/instances',
  summary: 'Asks for an instance',
  description:
    'Answered at once; what becomes of the request shows in its operation. Makes the first password and answers it this once.',
  right: { role: 'operator', scope: 'customer' },
  headers: Repeatable,
  body: Wish,
  status: 202,
  answer: Accepted,
  answerHeaders: { Location: 'Of the operation.' },
  problems: [
    ...(['bad-request', 'other-customer', 'slug-taken', 'instance-exists', 'body-too-large'] as const),
    ...(['unsupported-media-type', 'idempotency-key-reused'] as const),
  ],
} as const;

const List = {
  id: 'listInstances',
  method: 'get',
  path: '/v1/instances',
  summary: 'Instances, a page at a time',
  right: view,
  query: z.strictObject({
    customerId: Wish.shape.customerId.optional(),
    state: z.enum(viewStates).optional(),
    slug: Wish.shape.slug.optional(),
    plan: Wish.shape.plan.optional(),
    cell: z
      .string()
      .regex(/^[!-~]{1,64}$/)
      .optional(),
    sort: z.enum(instanceOrders).default('created').describe('With `-`: the other way round.'),
    after: z.uuid().optional(),
    limit: z.coerce.number().int().min(1).max(500).default(50),
  }),
  status: 200,
  answer: Page(Instance, z.uuid(), 'after'),
  problems: ['other-customer', 'unknown-instance'],
} as const;

const One = {
  id: 'getInstance',
  method: 'get',
  path: '/v1/instances/{instanceId}',
  summary: 'One instance',
  right: view,
  params,
  status: 200,
  answer: Instance,
  problems: ['unknown-instance'],
} as const;

const Story = {
  id: 'getTimeline',
  method: 'get',
  path: '/v1/instances/{instanceId}/timeline',
  summary: 'Every fact about an instance, oldest first',
  right: view,
  params,
  query: z.strictObject({
    after: countedId.optional(),
    limit: z.coerce.number().int().min(1).max(500).default(100),
  }),
  status: 200,
  answer: Page(TimelineEntry, countedId, 'after'),
  problems: ['unknown-instance'],
} as const;

const Explain = {
  id: 'explainInstance',
  method: 'get',
  path: '/v1/instances/{instanceId}/explain',
  summary: 'What an instance waits for, since when, whose fault that is, and what comes next',
  right: view,
  params,
  status: 200,
  answer: Explanation,
  problems: ['unknown-instance'],
} as const;

@Controller()
export class InstancesController {
  constructor(
    private readonly views: InstanceViews,
    private readonly timeline: Timeline,
    private readonly backups: BackupViews,
    private readonly restores: RestoreViews,
    private readonly requests: RequestInstance,
  ) {}

  @Serves(Request)
  async request({ body, headers, caller, traceparent, setHeader }: Call<typeof Request>) {
    if (!sees(caller, body.customerId)) throw new Problem('other-customer');
    try {
      const repeatable = { caller: caller.keyId, key: headers['idempotency-key'] };
      const accepted = await withoutReuse(this.requests.request(body, repeatable, traceparent));
      setHeader('Location', `/v1/operations/${accepted.operationId}`);
      return accepted;
    } catch (error) {
      if (error instanceof SlugTaken) throw new Problem('slug-taken', error.message);
      if (error instanceof InstanceExists) throw new Problem('instance-exists', error.message);
      throw error;
    }
  }

  @Serves(List)
  async list({ query: { limit, ...filter }, caller }: Call<typeof List>) {
    if (filter.customerId !== undefined && !sees(caller, filter.customerId)) throw new Problem('other-customer');
    const customerId = caller.customerId ?? filter.customerId;
    const found = await this.views.list({ ...filter, customerId, limit: limit + 1 });
    // An end that is none would end somebody's reading unseen.
    if (found.length === 0 && filter.after && !(await this.views.get(filter.after)))
      throw new Problem('unknown-instance', 'It stands in `after`.');
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? items.at(-1)!.instanceId : null };
  }

  @Serves(One)
  async one({ params, caller }: Call<typeof One>) {
    return await this.known(params.instanceId, caller);
  }

  @Serves(Story)
  async story({ params, query: { limit, after }, caller }: Call<typeof Story>) {
    const { instanceId } = await this.known(params.instanceId, caller);
    const found = await this.timeline.of(instanceId, { after, limit: limit + 1 });
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? items.at(-1)!.id : null };
  }

  @Serves(Explain)
  async explain({ params, caller }: Call<typeof Explain>) {
    const view = await this.known(params.instanceId, caller);
    const [[first], restore, finalBackup] = await Promise.all([
      this.timeline.of(view.instanceId, { limit: 1 }),
      waitsForRestore(view) ? this.restores.underWay(view.instanceId) : undefined,
      view.state === 'terminating' ? this.backups.finalOf(view.instanceId) : undefined,
    ]);
    return {
      ...explain(view, { restore, finalBackup }),
      message: (restore ?? (finalBackup?.state === 'failed' ? finalBackup : view)).message,
      since: restore ? (restore.stepSince ?? restore.notedAt) : view.stateSince,
      traceId: first?.traceId ?? null,
    };
  }

  /** What belongs to somebody else is not there either: that it exists is nobody else's business. */
  private async known(id: string, caller: Caller): Promise<InstanceView> {
    const view = await this.views.get(id);
    if (view && sees(caller, view.customerId)) return view;
    throw new Problem('unknown-instance');
  }
}
