import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { type Contract, Envelope, registry } from './index.js';
import { messageSchema } from './json-schema.js';

/**
 * Messages as they were once sent; they are never changed, only added to. Whoever runs the version before this one
 * sends them, so each must go on to be read.
 */
const folder = 'libs/contracts/fixtures';
const filesOf = (key: string) => readdirSync(join(folder, key));
const read = (key: string, file: string) =>
  JSON.parse(readFileSync(join(folder, key, file), 'utf8')) as Record<string, unknown> & {
    data: Record<string, unknown>;
  };

test('each message has an example and the least that must be sent, and nothing lies there for a message that is none', () => {
  expect(readdirSync(folder).sort()).toEqual(registry.map((one) => one.key));
  for (const { key } of registry) expect(filesOf(key)).toEqual(expect.arrayContaining(['example.json', 'least.json']));
});

const all = registry.flatMap((one) => filesOf(one.key).map((file) => [one.key, file, one] as const));

describe.each(all)('%s, %s', (key, file, contract) => {
  const message = read(key, file);

  test('is read', () => {
    const envelope = Envelope.parse(message);
    expect(envelope.type).toBe(contract.type);
    const data = contract.data.parse(message.data);
    if (contract.kind === 'fact') expect(envelope.subject).toBe(contract.subjectOf(data));
  });

  test('fits the published JSON Schema', () => {
    expect(schemaOf(contract).safeParse(message).error).toBeUndefined();
  });
});

describe.each(registry.map((one) => [one.key, one] as const))('the least of %s', (key, contract) => {
  const least = read(key, 'least.json');

  test.each(Object.keys(least.data))('cannot do without %s, for us and by the published schema', (field) => {
    const { [field]: _, ...data } = least.data;
    expect(contract.data.safeParse(data).success).toBe(false);
    expect(schemaOf(contract).safeParse({ ...least, data }).success).toBe(false);
  });

  test('has no attribute too many', () => {
    const { data, ...attributes } = least;
    const known = ['specversion', 'id', 'source', 'type', ...(contract.kind === 'fact' ? ['subject', 'sequence'] : [])];
    expect(Object.keys(attributes)).toEqual(known);
    for (const name of known) {
      const { [name]: _, ...rest } = least;
      expect(schemaOf(contract).safeParse(rest).success).toBe(false);
    }
  });
});

function schemaOf(contract: Contract): z.ZodType {
  return z.fromJSONSchema(messageSchema(contract, {}) as Parameters<typeof z.fromJSONSchema>[0]);
}
