import { Body, Controller, Get, Headers, HttpCode, Param, Post, Query, UseGuards } from '@nestjs/common';
import { z } from 'zod';
import { InstanceRequested } from '#contracts/index.js';
import { spanContextOf } from '#observability/index.js';
import { InstanceViews, Timeline } from '../application/ports.js';
import { type Accepted, type InstanceWish, RequestInstance, SlugTaken } from '../application/request-instance.js';
import { type Explanation, explain } from '../domain/explanation.js';
import { type InstanceView, viewStates } from '../domain/instance-view.js';
import type { TimelineEntry } from '../domain/timeline.js';
import { ApiKeyGuard } from './api-key.guard.js';
import { Problem } from './problem.js';
import { read } from './read.js';

/** What may be asked for: the contract's fields, less those that are made here. */
const Wish = InstanceRequested.data
  .omit({ adminPasswordHash: true })
  .extend({ instanceId: z.uuid().optional() })
  .strict();

const ListQuery = z.strictObject({
  customerId: z.string().max(64).optional(),
  state: z.enum(viewStates).optional(),
  after: z.uuid().optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
});

const TimelineQuery = z.strictObject({
  after: z
    .string()
    .regex(/^[1-9][0-9]{0,17}$/, 'is not the id of an entry')
    .optional(),
  limit: z.coerce.number().int().min(1).max(500).default(100),
});

@Controller('v1/instances')
@UseGuards(ApiKeyGuard)
export class InstancesController {
  constructor(
    private readonly views: InstanceViews,
    private readonly timeline: Timeline,
    private readonly requests: RequestInstance,
  ) {}

  /** 202: the request is on its way, and will be answered by the state of the instance. */
  @Post()
  @HttpCode(202)
  async request(@Body() body: unknown, @Headers('traceparent') traceparent?: string): Promise<Accepted> {
    const wish: InstanceWish = read(Wish, body);
    try {
      return await this.requests.request(wish, spanContextOf(traceparent) && traceparent);
    } catch (error) {
      if (!(error instanceof SlugTaken)) throw error;
      throw new Problem(409, 'slug-taken', 'Another instance has this name', 'Choose another slug.', error.message);
    }
  }

  /** In the order of their making; `next` is what to send as `after` for the following page. */
  @Get()
  async list(@Query() query: unknown): Promise<{ items: InstanceView[]; next: string | null }> {
    const { limit, ...filter } = read(ListQuery, query);
    const found = await this.views.list({ ...filter, limit: limit + 1 });
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? items.at(-1)!.instanceId : null };
  }

  @Get(':id')
  async one(@Param('id') id: string): Promise<InstanceView> {
    return await this.known(id);
  }

  /** Every fact, oldest first; `next` is what to send as `after` for the following page. */
  @Get(':id/timeline')
  async story(
    @Param('id') id: string,
    @Query() query: unknown,
  ): Promise<{ items: TimelineEntry[]; next: string | null }> {
    const { limit, after } = read(TimelineQuery, query);
    const { instanceId } = await this.known(id);
    const found = await this.timeline.of(instanceId, { after, limit: limit + 1 });
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? items.at(-1)!.id : null };
  }

  /** What it waits for, since when, whose fault that is, and what comes next. */
  @Get(':id/explain')
  async explain(
    @Param('id') id: string,
  ): Promise<Explanation & { message: string | null; since: Date; traceId: string | null }> {
    const view = await this.known(id);
    const [first] = await this.timeline.of(view.instanceId, { limit: 1 });
    return { ...explain(view), message: view.message, since: view.stateSince, traceId: first?.traceId ?? null };
  }

  private async known(id: string): Promise<InstanceView> {
    const view = z.uuid().safeParse(id).success ? await this.views.get(id) : undefined;
    if (view) return view;
    throw new Problem(404, 'unknown-instance', 'There is no such instance', 'List them at /v1/instances.');
  }
}
