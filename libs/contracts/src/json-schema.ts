import { z } from 'zod';
import type { Contract } from './contract.js';
import { Envelope } from './envelope.js';

/** The whole message as JSON Schema 2020-12: the envelope, with what this type makes of it. For whoever sends it. */
export function messageSchema(contract: Contract, example: unknown): Record<string, unknown> {
  const { $schema, ...envelope } = z.toJSONSchema(Envelope, { io: 'input' });
  const { $schema: _, ...data } = z.toJSONSchema(contract.data, { io: 'input' });
  return {
    $schema,
    $id: contract.type,
    title: contract.type,
    description: contract.why,
    ...envelope,
    required: [...(envelope.required ?? []), ...(contract.kind === 'fact' ? ['subject', 'sequence'] : [])],
    properties: { ...envelope.properties, type: { const: contract.type }, data },
    examples: [example],
  };
}
