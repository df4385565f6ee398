import { Controller } from '@nestjs/common';
import { z } from 'zod';
import { NotReplayable } from '#messaging/index.js';
import { ParkedMessages, type ParkedView, parkedStatuses } from '../application/ports.js';
import { AlreadySettled, SettleParked } from '../application/settle-parked.js';
import { Problem } from './problem.js';
import type { Call } from './route.js';
import { Serves } from './serves.js';
import { countedId, Page, ParkedMessage, ParkedMessageWithBody } from './shapes.js';

/** Bodies are other people's data, and putting one back is an operator's decision. */
const right = { role: 'operator', scope: 'platform' } as const;
const params = z.strictObject({ id: countedId });
const word = z.string().regex(/^[!-~]{1,64}$/);

const List = {
  id: 'listParkedMessages',
  method: 'get',
  path: '/v1/parked-messages',
  summary: 'Messages that no service could handle, newest first, without bodies',
  right,
  query: z.strictObject({
    status: z.enum(parkedStatuses).optional(),
    service: word.optional(),
    reason: word.optional(),
    before: countedId.optional(),
    limit: z.coerce.number().int().min(1).max(500).default(50),
  }),
  status: 200,
  answer: Page(ParkedMessage, countedId, 'before'),
  problems: [],
} as const;

const One = {
  id: 'getParkedMessage',
  method: 'get',
  path: '/v1/parked-messages/{id}',
  summary: 'One parked message with its body',
  right,
  params,
  status: 200,
  answer: ParkedMessageWithBody,
  problems: ['unknown-message'],
} as const;

const Replay = {
  id: 'replayParkedMessage',
  method: 'post',
  path: '/v1/parked-messages/{id}/replay',
  summary: 'Puts a parked message back into the queue it came from',
  description: 'What becomes of it shows in its `status`, or as a new parked message (`replayOf`).',
  right,
  params,
  status: 202,
  answer: ParkedMessage,
  problems: ['unknown-message', 'already-settled', 'not-replayable'],
} as const;

const Discard = {
  id: 'discardParkedMessage',
  method: 'post',
  path: '/v1/parked-messages/{id}/discard',
  summary: 'Lets a parked message go for good; its body is kept',
  right,
  params,
  body: z.strictObject({ reason: z.string().trim().min(1).max(500) }),
  status: 200,
  answer: ParkedMessage,
  problems: ['bad-request', 'unknown-message', 'already-settled', 'body-too-large', 'unsupported-media-type'],
} as const;

@Controller()
export class ParkedController {
  constructor(
    private readonly parked: ParkedMessages,
    private readonly settling: SettleParked,
  ) {}

  @Serves(List)
  async list({ query: { limit, ...filter } }: Call<typeof List>) {
    const found = await this.parked.list({ ...filter, limit: limit + 1 });
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? items.at(-1)!.id : null };
  }

  @Serves(One)
  async one({ params: { id } }: Call<typeof One>) {
    const found = await this.parked.get(id);
    if (!found) throw new Problem('unknown-message');
    const { body, ...view } = found;
    try {
      return { ...view, body: new TextDecoder('utf-8', { fatal: true }).decode(body) };
    } catch {
      return { ...view, bodyBase64: body.toString('base64') };
    }
  }

  @Serves(Replay)
  async replay({ params: { id } }: Call<typeof Replay>) {
    return await settled(this.settling.replay(id));
  }

  @Serves(Discard)
  async discard({ params: { id }, body: { reason } }: Call<typeof Discard>) {
    return await settled(this.settling.discard(id, reason));
  }
}

async function settled(work: Promise<ParkedView | undefined>): Promise<ParkedView> {
  try {
    const view = await work;
    if (view) return view;
  } catch (error) {
    if (error instanceof AlreadySettled) throw new Problem('already-settled', error.message);
    if (error instanceof NotReplayable) throw new Problem('not-replayable', error.message);
    throw error;
  }
  throw new Problem('unknown-message');
}
