import type { Contract, FactContract, PayloadOf } from '#contracts/index.js';
import type { PublishContext } from './outbox.js';

/** The message a handler is called for. */
export interface ReceivedMessage {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  /** When its publisher says it happened. */
  readonly time: string | undefined;
  readonly subject: string | undefined;
  readonly sequence: number | undefined;
  /** The broker user that published it first, as the broker checked it; undefined when the publisher did not say. */
  readonly publisher: string | undefined;
  readonly traceparent: string | undefined;
  readonly correlationId: string;
  /** 1 for the first delivery. */
  readonly attempt: number;
}

/**
 * The transaction of one message: what the handler saves and says is committed together with the note that the message
 * was handled, and the message is acknowledged after that.
 */
export interface ConsumeContext extends PublishContext {
  readonly message: ReceivedMessage;
}

/**
 * What a service does about one kind of message. A handler records intent in the database; it never calls the cluster
 * and never acknowledges. Returning means handled; a TerminalError parks the message; any other error brings it back
 * after a growing delay, a bounded number of times. It may be called again for the same message as long as its
 * transaction was not committed.
 */
export abstract class MessageHandler<C extends Contract = Contract> {
  abstract handle(data: PayloadOf<C>, ctx: ConsumeContext): Promise<void>;
}

/** Trying again cannot help: the message is parked at once, with this reason. */
export class TerminalError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TerminalError';
  }
}

type HandlerClass<C extends Contract> = abstract new (...args: never[]) => MessageHandler<C>;

export interface Subscription {
  readonly contract: Contract;
  readonly handler: HandlerClass<Contract>;
  /** `newest`: a fact that was overtaken by a later one of its type is not handled. `every`: all of them are. */
  readonly facts: 'newest' | 'every';
  /** Handles every fact beside `handler`, those too that were overtaken; in the same transaction, before it. */
  readonly every?: HandlerClass<Contract>;
}

/** One line of `entrypoints/subscriptions.ts`. `every`: for a timeline, which keeps what the handler passes over. */
export function on<C extends Contract>(
  contract: C,
  handler: HandlerClass<C>,
  more: { readonly every?: HandlerClass<FactContract> } = {},
): Subscription {
  return {
    contract,
    handler: handler as unknown as HandlerClass<Contract>,
    facts: 'newest',
    ...(more.every && { every: more.every as unknown as HandlerClass<Contract> }),
  };
}

/** Every fact is handled, also one that was overtaken on its way. */
export function onEvery<C extends FactContract>(contract: C, handler: HandlerClass<C>): Subscription {
  return { ...on(contract as Contract, handler as unknown as HandlerClass<Contract>), facts: 'every' };
}
