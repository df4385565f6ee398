import type { Contract, FactContract, PayloadOf, Service } from '#contracts/index.js';
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
  /** The service of the mesh whose user that is; undefined: somebody else. */
  readonly publishedBy: Service | undefined;
  readonly traceparent: string | undefined;
  readonly correlationId: string;
  /** The message because of which it was said: of an answer, the request. */
  readonly causationId: string | undefined;
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
  /** Facts that have come together are handled in one transaction; see `on`. */
  readonly batch?: boolean;
}

interface Batched {
  /**
   * Facts that have come together are handled in one transaction: one COMMIT for up to a hundred. For handlers that only
   * write a few rows, because all of a batch wait for each other. Facts about one subject are handled in the order in
   * which they came. Whatever fails in a batch undoes all of it; then each is handled by itself, as without it, so a
   * handler may be called once more than otherwise.
   */
  readonly batch?: boolean;
}

/**
 * One line of `entrypoints/subscriptions.ts`. `every`: for a timeline, which keeps what the handler passes over. A request
 * is never handled in a batch: it locks what others ask for too, and its answer is its own.
 */
export function on<C extends Contract>(
  contract: C,
  handler: HandlerClass<C>,
  more: C extends FactContract ? Batched & { readonly every?: HandlerClass<FactContract> } : Record<never, never> = {},
): Subscription {
  const { every, batch = false }: Batched & { readonly every?: HandlerClass<FactContract> } = more;
  return {
    contract,
    handler: handler as unknown as HandlerClass<Contract>,
    facts: 'newest',
    ...(every && { every: every as unknown as HandlerClass<Contract> }),
    batch,
  };
}

/** Every fact is handled, also one that was overtaken on its way. */
export function onEvery<C extends FactContract>(
  contract: C,
  handler: HandlerClass<C>,
  { batch = false }: Batched = {},
): Subscription {
  return { ...on(contract as Contract, handler as unknown as HandlerClass<Contract>), facts: 'every', batch };
}
