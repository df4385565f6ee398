import type { Service } from '#contracts/index.js';
import type { MessageHandler, Subscription } from './handler.js';

type HandlerType = abstract new (...args: never[]) => MessageHandler;

/**
 * Throws, naming every fault at once, when the list of what a service hears and its handlers do not match: a handler
 * that nothing feeds, a line whose handler is not provided, a message heard twice, a request that another service owns.
 */
export function checkSubscriptions(
  service: Service,
  subscriptions: readonly Subscription[],
  handlers: readonly HandlerType[],
): void {
  const faults: string[] = [];
  const heard = new Set<string>();
  const fed = new Set(subscriptions.flatMap(({ handler, every }) => (every ? [handler, every] : [handler])));
  for (const { contract, handler, every } of subscriptions) {
    if (heard.has(contract.type)) faults.push(`${contract.type} stands twice in subscriptions.ts`);
    heard.add(contract.type);
    for (const one of every ? [handler, every] : [handler])
      if (!handlers.includes(one)) faults.push(`${contract.type} goes to ${one.name}, which no module provides`);
    if (contract.kind === 'request' && contract.owner !== service && contract.owner !== 'every-owner')
      faults.push(`${contract.type} is owned by ${contract.owner}; exactly one service may take it`);
  }
  for (const handler of handlers)
    if (!fed.has(handler)) faults.push(`${handler.name} is provided, but no line of subscriptions.ts leads to it`);
  if (faults.length > 0) throw new Error(`${service} cannot start: ${faults.join('; ')}`);
}
