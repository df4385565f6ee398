import { type Contract, type Service, services } from './contract.js';
import { contentType } from './envelope.js';
import { messageSchema } from './json-schema.js';
import { keysSaidBy, registry } from './registry.js';

/**
 * The AsyncAPI 3.0 document, AMQP bindings 0.3.0: a channel for each routing key on `mesh.events`, and for each service
 * what it sends and which requests it answers. Which facts it listens to is its own affair and not told here.
 * @param exampleOf a message of this key as it is on the wire.
 */
export function asyncApi(exampleOf: (key: string) => unknown): Record<string, unknown> {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Odoo Mesh',
      version: '1.0.0',
      description:
        'CloudEvents 1.0 in structured JSON over AMQP 0-9-1. A request is an intent: anyone may send it, its owner answers it. A fact has happened: only its publisher says it. Delivery is at least once; the id of a message is unique within its source.',
      tags: services.map((name) => ({ name })),
    },
    defaultContentType: contentType,
    channels: byName(registry, (one) => [nameOf(one.key), channel(one)]),
    operations: Object.assign({}, ...services.map(operations)),
    components: { messages: byName(registry, (one) => [nameOf(one.key), message(one, exampleOf(one.key))]) },
  };
}

function channel(contract: Contract) {
  const { key } = contract;
  // What every owner says goes to the one queue that asked, by the queue's name.
  const direct = contract.kind === 'fact' && contract.publisher === 'every-owner';
  const exchange = {
    ...(direct ? { name: 'mesh.republish', type: 'direct' } : { name: 'mesh.events', type: 'topic' }),
    durable: true,
    autoDelete: false,
  };
  return {
    address: direct ? null : key,
    messages: { [nameOf(key)]: { $ref: `#/components/messages/${nameOf(key)}` } },
    bindings: { amqp: { is: 'routingKey', exchange, bindingVersion: '0.3.0' } },
  };
}

function message(contract: Contract, example: unknown) {
  return {
    name: contract.type,
    title: contract.type,
    summary: contract.why,
    contentType,
    payload: {
      schemaFormat: 'application/schema+json;version=draft-2020-12',
      schema: messageSchema(contract, example),
    },
    examples: [{ payload: example }],
  };
}

function operations(service: Service): Record<string, unknown> {
  const saysFacts = registry.some((one) => one.kind === 'fact' && one.whole && one.publisher === service);
  const sentByEveryOwner = registry.filter((one) => one.kind === 'fact' && one.publisher === 'every-owner');
  const sent = new Set([...keysSaidBy(service), ...(saysFacts ? sentByEveryOwner.map((one) => one.key) : [])]);
  const answers = (one: Contract) =>
    one.kind === 'request' && (one.owner === 'every-owner' ? saysFacts : one.owner === service);
  const operation = (action: 'send' | 'receive') => (one: Contract) =>
    [
      nameOf(`${service}.${action}.${one.key}`),
      {
        action,
        channel: { $ref: `#/channels/${nameOf(one.key)}` },
        summary: one.why,
        tags: [{ name: service }, { name: one.kind }],
        bindings: { amqp: { deliveryMode: 2, bindingVersion: '0.3.0' } },
      },
    ] as const;
  return {
    ...byName(
      registry.filter((one) => sent.has(one.key)),
      operation('send'),
    ),
    ...byName(registry.filter(answers), operation('receive')),
  };
}

/** `instance.ready.v1` → `instanceReadyV1`: names of AsyncAPI's components have no dots. */
function nameOf(key: string): string {
  return key.replace(/[.-]([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function byName(contracts: readonly Contract[], entry: (one: Contract) => readonly [string, unknown]) {
  return Object.fromEntries(contracts.map(entry));
}
