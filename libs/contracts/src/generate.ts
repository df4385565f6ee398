import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { z } from 'zod';
import { type Contract, services } from './contract.js';
import { Envelope } from './envelope.js';
import { example } from './example.js';
import { registry } from './registry.js';

/**
 * Writes what a stranger needs to talk to the mesh: a JSON Schema for each message and an AsyncAPI 3 document, both
 * made from the contracts. `--check` writes nothing and fails when the committed files are not what would be written.
 */

/** The whole message: the envelope, with what this type makes of it. */
function schemaOf(contract: Contract): Record<string, unknown> {
  const { $schema: _, ...envelope } = z.toJSONSchema(Envelope, { io: 'input' }) as {
    properties: object;
    required: string[];
  } & Record<string, unknown>;
  const { $schema: __, ...data } = z.toJSONSchema(contract.data, { io: 'input' }) as Record<string, unknown>;
  const required = [...envelope.required, ...(contract.kind === 'fact' ? ['subject', 'sequence'] : [])];
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    $id: contract.type,
    title: contract.type,
    description: contract.why,
    ...envelope,
    required: [...new Set([...required, 'data'])],
    properties: { ...envelope.properties, type: { const: contract.type }, data },
    examples: [example(contract)],
  };
}

const camel = (key: string) => key.replace(/[.-]([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

/** AsyncAPI 3.0 with the AMQP bindings 0.3.0: a channel per routing key, what each service sends and receives. */
function asyncApi(): Record<string, unknown> {
  const channels = Object.fromEntries(
    registry.map((contract) => [
      camel(contract.key),
      {
        address: contract.key,
        messages: { [camel(contract.key)]: { $ref: `#/components/messages/${camel(contract.key)}` } },
        bindings: {
          amqp: {
            is: 'routingKey',
            exchange: { name: 'mesh.events', type: 'topic', durable: true, autoDelete: false },
            bindingVersion: '0.3.0',
          },
        },
      },
    ]),
  );
  const messages = Object.fromEntries(
    registry.map((contract) => [
      camel(contract.key),
      {
        name: contract.type,
        title: contract.type,
        summary: contract.why,
        contentType: 'application/cloudevents+json',
        payload: { schemaFormat: 'application/schema+json;version=draft-2020-12', schema: schemaOf(contract) },
        examples: [{ payload: example(contract) }],
      },
    ]),
  );
  const operations = Object.fromEntries(
    registry.map((contract) => {
      const [service, action] = contract.kind === 'fact' ? [contract.publisher, 'send'] : [contract.owner, 'receive'];
      return [
        camel(`${service}.${action}.${contract.key}`),
        {
          action,
          channel: { $ref: `#/channels/${camel(contract.key)}` },
          summary: contract.why,
          tags: [{ name: service }, { name: contract.kind }],
          bindings: { amqp: { deliveryMode: 2, bindingVersion: '0.3.0' } },
        },
      ];
    }),
  );
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Odoo Mesh',
      version: '1.0.0',
      description:
        'CloudEvents 1.0 in structured JSON over AMQP 0-9-1. A request is an intent: anyone may send it, its owner answers it. A fact has happened: only its publisher says it. Delivery is at least once; the id of a message is unique within its source.',
      tags: [...services, 'every-owner'].map((name) => ({ name })),
    },
    defaultContentType: 'application/cloudevents+json',
    channels,
    operations,
    components: { messages },
  };
}

/** File → content, for everything that is generated. */
export function generated(): Map<string, string> {
  const write = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  return new Map([
    ['asyncapi.json', write(asyncApi())],
    ...registry.map((one) => [`schemas/${one.key}.schema.json`, write(schemaOf(one))] as const),
  ]);
}

/** The files that are missing, differ, or should not be there. */
export function stale(folder: string): string[] {
  const wanted = generated();
  const changed = [...wanted].filter(([file, content]) => {
    const path = join(folder, file);
    return !existsSync(path) || readFileSync(path, 'utf8') !== content;
  });
  const schemas = join(folder, 'schemas');
  const extra = existsSync(schemas) ? readdirSync(schemas).filter((file) => !wanted.has(`schemas/${file}`)) : [];
  return [...changed.map(([file]) => file), ...extra.map((file) => `schemas/${file}`)];
}

if (process.argv[1] && basename(process.argv[1]) === 'generate.js') {
  const folder = resolve('libs/contracts/generated');
  const found = stale(folder);
  if (process.argv.includes('--check')) {
    if (found.length > 0) {
      console.error(`Not what the contracts say any more: ${found.join(', ')}\nMake them anew with: npm run contracts`);
      process.exitCode = 1;
    }
  } else {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(join(folder, 'schemas'), { recursive: true });
    for (const [file, content] of generated()) writeFileSync(join(folder, file), content);
    console.log(`${registry.length} messages written to libs/contracts/generated`);
  }
}
