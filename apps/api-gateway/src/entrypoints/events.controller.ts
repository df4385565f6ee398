import type { ServerResponse } from 'node:http';
import { Controller } from '@nestjs/common';
import { z } from 'zod';
import { EventFeed } from '../application/event-feed.js';
import type { EventFilter, TimelineEvent } from '../application/ports.js';
import { sees } from '../domain/access.js';
import { Problem } from './problem.js';
import type { Call } from './route.js';
import { Serves } from './serves.js';
import { Event, Wish } from './shapes.js';

/** `0`: before the first one. */
const place = z.string().regex(/^(0|[1-9][0-9]{0,17})$/, 'is not the id of an event');

const Follow = {
  id: 'followEvents',
  method: 'get',
  path: '/v1/events',
  summary: 'Facts about instances as they become known, as server-sent events',
  description:
    'Each event has the fact as its name, an `Event` as its data, and an id. Connect again with `Last-Event-ID` (browsers do it by themselves) to go on behind that one: no fact is missed, none comes twice. Without it, it begins with what comes next; `after=0` begins with the first. A stream ends when its key does.',
  right: { role: 'viewer', scope: 'customer' },
  query: z.strictObject({
    after: place.optional(),
    instanceId: z.uuid().optional(),
    customerId: Wish.shape.customerId.optional(),
  }),
  headers: z.object({ 'last-event-id': place.optional() }),
  status: 200,
  answer: Event,
  stream: true,
  problems: ['other-customer', 'too-many-streams'],
} as const;

const maxStreams = 200;
/** How often a stream says something when there is nothing to say, and looks whether its key is believed still. */
const idleMs = 5_000;

@Controller()
export class EventsController {
  private streams = 0;

  constructor(private readonly feed: EventFeed) {}

  @Serves(Follow)
  async follow({ query, headers, caller, stillAllowed }: Call<typeof Follow>, response: ServerResponse) {
    if (query.customerId !== undefined && !sees(caller, query.customerId)) throw new Problem('other-customer');
    if (this.streams >= maxStreams) throw new Problem('too-many-streams', undefined, { 'Retry-After': '5' });
    const filter: EventFilter = {
      instanceId: query.instanceId,
      customerId: caller.customerId ?? query.customerId,
    };
    const after = headers['last-event-id'] ?? query.after ?? (await this.feed.newest());
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    this.streams += 1;
    let believedAt = performance.now();
    try {
      response.writeHead(200, {
        'Content-Type': 'text/event-stream',
        'Cache-Control': 'no-store',
        'X-Accel-Buffering': 'no',
      });
      await write(response, 'retry: 1000\n\n');
      for await (const { events, upTo } of this.feed.follow(after, filter, idleMs, gone.signal)) {
        if (performance.now() - believedAt >= idleMs) {
          if (!(await stillAllowed())) break;
          believedAt = performance.now();
        }
        // Without data it is no event, and yet the place to go on from.
        await write(response, events.length > 0 ? events.map(eventText).join('') : `id: ${upTo}\n\n`);
      }
    } finally {
      this.streams -= 1;
      response.end();
    }
  }
}

function eventText({ id, ...event }: TimelineEvent): string {
  return `id: ${id}\nevent: ${event.fact}\ndata: ${JSON.stringify(event)}\n\n`;
}

/** Waits for a reader that is slower than we are; resolves, too, when it is gone. */
async function write(response: ServerResponse, text: string): Promise<void> {
  if (response.write(text) || response.closed) return;
  await new Promise<void>((resolve) => {
    const go = () => {
      response.off('drain', go).off('close', go);
      resolve();
    };
    response.on('drain', go).on('close', go);
  });
}
