import { type Attributes, type Span, SpanKind, trace } from '@opentelemetry/api';
import type { Contract, Envelope } from '#contracts/index.js';
import { type About, attributesOf, contextOf, Origin } from '#observability/index.js';
import type { Delivery } from './delivery.js';

/**
 * Spans as the messaging conventions of OpenTelemetry have them (1.44). A destination's name holds the key too, of which
 * there are as many as contracts; spans are called after the queue or exchange alone.
 */
function messagingAttributes(
  operation: { readonly name: string; readonly type: string },
  destination: { readonly exchange: string; readonly key: string; readonly queue?: string },
  message: { readonly id: string; readonly correlationId?: string | undefined },
): Attributes {
  const { exchange, key, queue } = destination;
  return {
    'messaging.system': 'rabbitmq',
    'messaging.operation.name': operation.name,
    'messaging.operation.type': operation.type,
    'messaging.destination.name': [exchange, key, queue].filter((part) => part).join(':'),
    'messaging.destination.template': queue ?? exchange,
    'messaging.rabbitmq.destination.routing_key': key,
    'messaging.message.id': message.id,
    ...(message.correlationId !== undefined && { 'messaging.message.conversation_id': message.correlationId }),
  };
}

export function processAttributes(contract: Contract, envelope: Envelope, { message, queue }: Delivery): Attributes {
  return {
    ...messagingAttributes(
      { name: 'process', type: 'process' },
      { exchange: message.fields.exchange, key: contract.key, queue },
      { id: envelope.id, correlationId: envelope.correlationid ?? envelope.id },
    ),
    ...stepOf(envelope.data),
  };
}

/** What a message is about, by its data and, where these do not say it, by what its publisher knew. */
export function aboutMessage(envelope: Pick<Envelope, 'id' | 'correlationid' | 'customerid'>, data: unknown): About {
  const { instanceId, customerId } = aboutData(data);
  return {
    instanceId,
    customerId: customerId ?? envelope.customerid,
    operationId: envelope.correlationid ?? envelope.id,
  };
}

export function aboutData(data: unknown): Pick<About, 'instanceId' | 'customerId'> {
  const { instanceId, customerId, specification } = data as Said & { specification?: Said };
  return { instanceId, customerId: customerId ?? specification?.customerId };
}

interface Said {
  readonly instanceId?: string;
  readonly customerId?: string;
}

/** Where the trace of a message begins that came without one: the same for each of its deliveries. */
export function originOfMessage(contract: Contract, envelope: Envelope, delivery: Delivery): Origin {
  const { id, source, correlationid: correlationId = id } = envelope;
  return new Origin(`receive ${delivery.queue}`, {
    kind: SpanKind.CLIENT,
    attributes: messagingAttributes(
      { name: 'receive', type: 'receive' },
      { exchange: delivery.message.fields.exchange, key: contract.key, queue: delivery.queue },
      { id, correlationId },
    ),
    source: `${source}\0${id}`,
    always: contract.kind === 'request',
  });
}

/** Where the trace of a message begins that we say without being asked. */
export function originOfOwn(
  contract: Contract,
  exchange: string,
  message: { readonly id: string; readonly correlationId?: string | undefined },
): Origin {
  return new Origin(`create ${exchange}`, {
    kind: SpanKind.PRODUCER,
    attributes: messagingAttributes({ name: 'create', type: 'create' }, { exchange, key: contract.key }, message),
    // What is asked again and again without harm is talk among the services.
    always: contract.kind === 'request' && !contract.repeatable,
  });
}

export interface SentRow {
  readonly message_id: string;
  readonly exchange: string;
  readonly routing_key: string;
  readonly body: string;
  readonly traceparent: string | null;
}

/** Below the same context as what its receivers do. */
export function startSend(row: SentRow): Span | undefined {
  if (!row.traceparent) return undefined;
  const span = trace
    .getTracer('mesh.messaging')
    .startSpan(`send ${row.exchange}`, { kind: SpanKind.PRODUCER }, contextOf(row.traceparent));
  if (!span.isRecording()) return undefined;
  const envelope = JSON.parse(row.body) as Envelope;
  span.setAttributes({
    ...messagingAttributes(
      { name: 'send', type: 'send' },
      { exchange: row.exchange, key: row.routing_key },
      { id: row.message_id, correlationId: envelope.correlationid ?? envelope.id },
    ),
    ...attributesOf(aboutMessage(envelope, envelope.data)),
    ...stepOf(envelope.data),
  });
  return span;
}

/** Which step of a provisioning a fact tells of, so that one trace can be read without the messages' bodies. */
function stepOf(data: unknown): Attributes {
  const { step } = data as { step?: unknown };
  return typeof step === 'string' ? { 'mesh.step': step } : {};
}
