import { about, contextOf, flushSpans, inSpan } from '#observability/index.js';
import type { Lease } from '#persistence/index.js';

/** Whose cause it is: the trace that it stands in, and what it is told of. */
interface Cause {
  readonly instanceId: string;
  readonly correlationId: string;
  readonly traceparent: string | null;
}

/** Only while the lease is held; in a span of what asked for it, told before anybody is told of the end. */
export async function actFor<T>(
  lease: Lease,
  { instanceId, correlationId, traceparent }: Cause,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  const parent = about({ instanceId, operationId: correlationId }, contextOf(traceparent ?? undefined));
  const result = await inSpan(name, { attributes: { 'mesh.attempt': lease.attempt }, parent }, async () => {
    await lease.check();
    return await work();
  });
  await flushSpans();
  return result;
}
