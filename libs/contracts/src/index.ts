export * from './contract.js';
export * from './draft.js';
export * from './envelope.js';
export * from './new-id.js';

import type { Service } from './contract.js';

export function topicWritePattern(_service: Service): string {
  return '.*';
}

import type { Contract } from './contract.js';
import * as draft from './draft.js';

export const registry: readonly Contract[] = Object.values(draft) as unknown as Contract[];
