import { setTimeout as pause } from 'node:timers/promises';
import { Pool } from 'undici';

export interface Latencies {
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
}

/**
 * Calls at an even rate, whether or not the answers come: each latency counts from the moment at which the call was due,
 * so that a server that stands still is not asked less. Throws when one is not answered with 200.
 */
export async function callAtRate(
  origin: string,
  headers: Readonly<Record<string, string>>,
  perSecond: number,
  pathOf: () => string,
  goesOn: (calls: number) => boolean,
): Promise<Latencies> {
  const pool = new Pool(origin, { connections: 100 });
  const latencies: number[] = [];
  const calls: Promise<void>[] = [];
  const start = performance.now();
  try {
    while (goesOn(calls.length)) {
      const due = start + (calls.length / perSecond) * 1_000;
      if (due > performance.now() + 1) await pause(Math.max(1, due - performance.now()));
      calls.push(
        call(pool, pathOf(), headers).then(() => {
          latencies.push(performance.now() - due);
        }),
      );
    }
    await Promise.all(calls);
  } finally {
    await pool.close();
  }
  latencies.sort((a, b) => a - b);
  const at = (share: number) => latencies[Math.floor((latencies.length - 1) * share)]!;
  return { p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99) };
}

async function call(pool: Pool, path: string, headers: Readonly<Record<string, string>>): Promise<void> {
  const { statusCode, body } = await pool.request({ path, method: 'GET', headers });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`${path} was answered ${statusCode}: ${text.slice(0, 300)}`);
}
