import type { ConsumeMessage } from 'amqplib';
import type { z } from 'zod';
import { type Contract, Envelope, maxBodyBytes } from '#contracts/index.js';

/** Headers that our own copies carry; the broker's `x-` headers are never trusted to count. */
export const headers = {
  attempt: 'mesh-attempt',
  /** The broker user of the first delivery, on copies that we sent through our own delay queues. */
  publisher: 'mesh-publisher',
  firstSeen: 'mesh-first-seen',
  reason: 'mesh-reason',
  queue: 'mesh-queue',
  error: 'mesh-error',
  /** Numbers the copies of one consumer, so that one that is returned is known. */
  copy: 'mesh-copy',
  /** On a parked message that the gateway put back: under which number it is kept there. */
  replay: 'mesh-replay',
} as const;

export interface Delivery {
  readonly message: ConsumeMessage;
  readonly queue: string;
  /** 1 for the first delivery. */
  readonly attempt: number;
  /** How often the broker gave it out in vain: its consumer died or lost its channel before the end. */
  readonly returned: number;
  readonly publisher: string | undefined;
  readonly firstSeen: string;
  /** The gateway's number of the parked message that was put back; undefined: it comes from its publisher. */
  readonly replayOf: string | undefined;
}

export const parkCodes = [
  'oversize',
  'not-json',
  'broken-envelope',
  'unknown-type',
  'broken-data',
  'forged',
  'terminal',
  'crashed-consumer',
  'exhausted',
  'superseded',
] as const;

/** Why a message is parked; the code is for filters, the text for the person who looks. */
export interface ParkReason {
  readonly code: (typeof parkCodes)[number];
  readonly text: string;
}

export class Unreadable extends Error {
  constructor(readonly reason: ParkReason) {
    super(reason.text);
    this.name = 'Unreadable';
  }
}

/**
 * Headers of ours are believed on copies which this service published itself (`ownUser`), and on parked messages that
 * the gateway put back; on anything else they are a stranger's words.
 */
export function readDelivery(
  message: ConsumeMessage,
  queue: string,
  { ownUser, replayUser }: { readonly ownUser: string; readonly replayUser: string },
): Delivery {
  const { userId, headers: found = {} } = message.properties;
  const copied = userId === ownUser && found[headers.attempt] !== undefined;
  const replayed = !copied && userId === replayUser && found[headers.replay] !== undefined;
  const attempt = copied ? Number(found[headers.attempt]) : 1;
  return {
    message,
    queue,
    attempt: Number.isSafeInteger(attempt) && attempt > 0 ? attempt : 1,
    returned: timesReturned(message),
    publisher: copied || replayed ? found[headers.publisher] : userId,
    firstSeen: (copied && found[headers.firstSeen]) || new Date().toISOString(),
    replayOf: copied || replayed ? found[headers.replay] : undefined,
  };
}

/** Of a quorum queue, whose count survives the broker. */
export function timesReturned(message: ConsumeMessage): number {
  return Number(message.properties.headers?.['x-delivery-count'] ?? 0) || 0;
}

/** Throws Unreadable for everything that no handler may ever see. */
export function readEnvelope(content: Buffer): Envelope {
  if (content.byteLength > maxBodyBytes)
    throw new Unreadable({
      code: 'oversize',
      text: `the body has ${content.byteLength} bytes; at most ${maxBodyBytes} are read`,
    });
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(content));
  } catch (error) {
    throw new Unreadable({ code: 'not-json', text: `the body is not JSON in UTF-8: ${(error as Error).message}` });
  }
  const envelope = Envelope.safeParse(json);
  if (!envelope.success)
    throw new Unreadable({
      code: 'broken-envelope',
      text: `not a CloudEvent 1.0 as the mesh reads it: ${faults(envelope.error)}`,
    });
  return envelope.data;
}

/** The data as the contract promises it to a handler. */
export function readData(contract: Contract, data: unknown): unknown {
  const parsed = contract.data.safeParse(data);
  if (!parsed.success)
    throw new Unreadable({
      code: 'broken-data',
      text: `the data does not fit ${contract.type}: ${faults(parsed.error)}`,
    });
  return parsed.data;
}

/** Names the fields, never their values: they may be secret, or long. */
function faults(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join('.') || 'it'}: ${issue.message}`).join('; ');
}
