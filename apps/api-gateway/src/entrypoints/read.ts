import type { z } from 'zod';
import { Problem } from './problem.js';

/** What came from outside, as the schema promises it; else a 400 that names the fields and never their values. */
export function read<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map((issue) => `${issue.path.join('.') || 'it'}: ${issue.message}`).join('; ');
  throw new Problem('invalid', faults);
}
