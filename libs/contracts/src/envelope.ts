import { z } from 'zod';

export const contentType = 'application/cloudevents+json';

/** The largest body, in bytes, that a service reads. A larger one is parked unread. */
export const maxBodyBytes = 256 * 1024;

const word = (max: number) => z.string().min(1).max(max);

/**
 * CloudEvents 1.0, structured JSON. A foreign publisher must send specversion, id, source, type and data; facts of the
 * mesh carry subject and sequence too. Unknown extensions are let through unread, as CloudEvents asks.
 */
export const Envelope = z.looseObject({
  specversion: z.literal('1.0'),
  /** Unique within the source; the operation's id when the message is a request. */
  id: word(128),
  source: word(128),
  type: word(128),
  time: z.iso.datetime({ offset: true }).optional(),
  datacontenttype: z.literal('application/json').optional(),
  subject: word(256).optional(),
  /** Newest wins per (source, subject, type): max(previous + 1, unix milliseconds). */
  sequence: z.int().nonnegative().optional(),
  /** W3C Trace Context. A broken one is ignored, as that standard asks, and never a reason to refuse a message. */
  traceparent: z.string().optional(),
  /** The id of the request that started it all. */
  correlationid: word(128).optional(),
  /** The id of the message that made this one be said. */
  causationid: word(128).optional(),
  data: z.unknown(),
});
export type Envelope = z.output<typeof Envelope>;
