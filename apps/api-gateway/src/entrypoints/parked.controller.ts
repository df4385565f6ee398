import { Body, Controller, Get, HttpCode, Param, Post, Query, UseGuards } from '@nestjs/common';
import { z } from 'zod';
import { NotReplayable } from '#messaging/index.js';
import { ParkedMessages, type ParkedView, parkedStatuses } from '../application/ports.js';
import { AlreadySettled, SettleParked } from '../application/settle-parked.js';
import { ApiKeyGuard } from './api-key.guard.js';
import { Problem } from './problem.js';
import { read } from './read.js';

const number = z.string().regex(/^[1-9][0-9]{0,17}$/, 'is not the number of a parked message');

const ListQuery = z.strictObject({
  status: z.enum(parkedStatuses).optional(),
  service: z.string().max(64).optional(),
  reason: z.string().max(64).optional(),
  before: number.optional(),
  limit: z.coerce.number().int().min(1).max(500).default(50),
});

const Discard = z.strictObject({ reason: z.string().trim().min(1).max(500) });

/** Messages that no service could handle. */
@Controller('v1/parked-messages')
@UseGuards(ApiKeyGuard)
export class ParkedController {
  constructor(
    private readonly parked: ParkedMessages,
    private readonly settling: SettleParked,
  ) {}

  /** Newest first, without bodies; `next` is what to send as `before` for the following page. */
  @Get()
  async list(@Query() query: unknown): Promise<{ items: ParkedView[]; next: string | null }> {
    const { limit, ...filter } = read(ListQuery, query);
    const found = await this.parked.list({ ...filter, limit: limit + 1 });
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? items.at(-1)!.id : null };
  }

  /** With its body: as text where it is UTF-8, else in base64. */
  @Get(':id')
  async one(@Param('id') id: string): Promise<ParkedView & ({ body: string } | { bodyBase64: string })> {
    const found = number.safeParse(id).success ? await this.parked.get(id) : undefined;
    if (!found) throw unknown();
    const { body, ...view } = found;
    try {
      return { ...view, body: new TextDecoder('utf-8', { fatal: true }).decode(body) };
    } catch {
      return { ...view, bodyBase64: body.toString('base64') };
    }
  }

  /** Back into the queue it came from. What becomes of it shows in `status`, or as a new parked message (`replayOf`). */
  @Post(':id/replay')
  @HttpCode(202)
  async replay(@Param('id') id: string): Promise<ParkedView> {
    return await this.settled(id, () => this.settling.replay(id));
  }

  @Post(':id/discard')
  @HttpCode(200)
  async discard(@Param('id') id: string, @Body() body: unknown): Promise<ParkedView> {
    const { reason } = read(Discard, body);
    return await this.settled(id, () => this.settling.discard(id, reason));
  }

  private async settled(id: string, work: () => Promise<ParkedView | undefined>): Promise<ParkedView> {
    try {
      const view = number.safeParse(id).success ? await work() : undefined;
      if (view) return view;
    } catch (error) {
      if (error instanceof AlreadySettled)
        throw new Problem(
          409,
          'already-settled',
          'Somebody has decided about it',
          'Look at its status.',
          error.message,
        );
      if (error instanceof NotReplayable)
        throw new Problem(
          409,
          'not-replayable',
          'It cannot be put back',
          'Discard it, or mend its cause.',
          error.message,
        );
      throw error;
    }
    throw unknown();
  }
}

function unknown(): Problem {
  return new Problem(404, 'unknown-message', 'There is no such parked message', 'List them at /v1/parked-messages.');
}
