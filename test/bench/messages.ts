import { InstanceTerminated, newId } from '#contracts/index.js';

/** What a message of the benches is asked for with; in the mesh the gateway says it and the planner hears it. */
export const routingKey = 'instance.requested.v1';
export const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const bytes = 1_024;

export interface Message {
  readonly id: string;
  /** A whole envelope of 1,024 bytes, as the outbox holds it. */
  readonly body: string;
}

/** A request that every service would take for a good one, filled up to the size that all benches use. */
export function newMessage(): Message {
  const id = newId();
  const envelope = (company: string, adminLogin: string) =>
    JSON.stringify({
      specversion: '1.0',
      id,
      source: 'api-gateway',
      type: `mesh.${routingKey}`,
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      traceparent,
      correlationid: id,
      data: {
        instanceId: newId(),
        slug: 'acme',
        customerId: 'c-1042',
        plan: 'business',
        odooVersion: '18.0',
        bundle: 'apps',
        company,
        adminLogin,
        adminPasswordHash: `$pbkdf2-sha512$600000$${'s'.repeat(22)}$${'h'.repeat(86)}`,
        language: 'en_US',
        country: 'FR',
        externalRef: 'subscription-4711',
      },
    });
  const missing = bytes - envelope('', '').length;
  const company = 'c'.repeat(120);
  return { id, body: envelope(company, 'l'.repeat(missing - company.length)) };
}

/** A fact of 1,024 bytes about a subject of its own, as the provisioner says it and the planner believes it. */
export function newFact(): Message {
  const id = newId();
  const instanceId = newId();
  const envelope = (removed: string[]) =>
    JSON.stringify({
      specversion: '1.0',
      id,
      source: 'provisioner',
      type: InstanceTerminated.type,
      time: new Date().toISOString(),
      datacontenttype: 'application/json',
      traceparent,
      correlationid: id,
      subject: instanceId,
      sequence: Date.now(),
      data: { instanceId, approvalId: 'approval-4711', removed },
    });
  const removed = Array.from({ length: 8 }, () => 'r'.repeat(60));
  const missing = bytes - envelope([...removed, '']).length;
  return { id, body: envelope([...removed, 'l'.repeat(missing)]) };
}

export function newMessages(n: number): Message[] {
  return Array.from({ length: n }, newMessage);
}
