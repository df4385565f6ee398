import { expect, test } from '@jest/globals';
import { Envelope, InstanceRequested, InstanceTerminated } from '#contracts/index.js';
import { newFact, newMessage, newMessages } from './messages.js';

test('a message is 1,024 bytes that every service takes for a good request', () => {
  const { id, body } = newMessage();
  expect(Buffer.byteLength(body)).toBe(1_024);
  const envelope = Envelope.parse(JSON.parse(body));
  expect(envelope).toMatchObject({ id, type: InstanceRequested.type });
  expect(InstanceRequested.data.safeParse(envelope.data).success).toBe(true);
});

test('a fact is 1,024 bytes that a service believes', () => {
  const { id, body } = newFact();
  expect(Buffer.byteLength(body)).toBe(1_024);
  const envelope = Envelope.parse(JSON.parse(body));
  expect(envelope).toMatchObject({ id, source: InstanceTerminated.publisher, type: InstanceTerminated.type });
  expect(InstanceTerminated.data.safeParse(envelope.data).success).toBe(true);
});

test('no two are the same', () => {
  expect(new Set(newMessages(100).map(({ id }) => id)).size).toBe(100);
});
