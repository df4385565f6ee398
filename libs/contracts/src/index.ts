export * from './contract.js';
export * from './draft.js';
export * from './envelope.js';
export * from './new-id.js';

import type { Service } from './contract.js';

export function topicWritePattern(_service: Service): string {
  return '.*';
}
