import { z } from 'zod';

export const contentType = 'application/cloudevents+json';

/** The largest body, in bytes, that a service reads. A larger one is parked unread. */
export const maxBodyBytes = 256 * 1024;

const word = (max: number) => z.string().min(1).max(max);

/** An attribute that may be left out, or be null: CloudEvents' JSON format makes no difference. */
const unset = <T extends z.ZodType>(attribute: T) => attribute.nullish().transform((value) => value ?? undefined);

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
  time: unset(z.iso.datetime({ offset: true })),
  /** JSON, in whichever words. */
  datacontenttype: unset(z.string().regex(/^application\/([a-zA-Z0-9.-]+\+)?json *(;.*)?$/, 'is not JSON')),
  subject: unset(word(256)),
  /** Newest wins per (source, subject, type): max(previous + 1, unix milliseconds). */
  sequence: unset(z.int().nonnegative()),
  /** W3C Trace Context. A broken one is ignored, as that standard asks, and never a reason to refuse a message. */
  traceparent: z.string().optional().catch(undefined),
  /** The id of the request that started it all. */
  correlationid: unset(word(128)),
  /** The id of the message that made this one be said. */
  causationid: unset(word(128)),
  /** Whose operation it is part of, where the data do not say it: for traces. Never a reason to refuse a message. */
  customerid: z.string().min(1).max(64).optional().catch(undefined),
  data: z.unknown(),
});
export type Envelope = z.output<typeof Envelope>;
