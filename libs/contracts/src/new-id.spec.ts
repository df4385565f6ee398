import { expect, test } from '@jest/globals';
import { z } from 'zod';
import { newId } from './new-id.js';

test('an id is a UUID of version 7 that carries its time', () => {
  const id = newId(Date.UTC(2026, 10, 23, 10));
  expect(z.uuidv7().safeParse(id).success).toBe(true);
  expect(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toBe(Date.UTC(2026, 10, 23, 10));
});

test('ids of later milliseconds sort later, and ids of one millisecond differ', () => {
  expect(newId(1_000) < newId(1_001)).toBe(true);
  expect(new Set(Array.from({ length: 1_000 }, () => newId(5))).size).toBe(1_000);
});
