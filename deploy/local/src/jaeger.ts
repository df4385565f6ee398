import { mkdirSync } from 'node:fs';
import type { State } from './state.js';
import { waitForServer } from './wait.js';

/** Where spans go, and where they are read back. */
export interface JaegerAddress {
  /** OTLP over HTTP, `http://host:port`, without a path. */
  readonly otlpEndpoint: string;
  /** The query API. */
  readonly url: string;
}

/** Jaeger as a process of ours, on the loopback, with what it heard in memory only. Resolves when it answers. */
export async function startJaeger(state: State, program: string, config: string): Promise<JaegerAddress> {
  const { processes } = state;
  if (!processes.alive('jaeger')) {
    const folder = state.path('jaeger');
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    await processes.start({
      name: 'jaeger',
      command: program,
      args: [`--config=file:${config}`],
      env: {
        PATH: '/usr/bin:/bin',
        HOME: folder,
        OTLP_PORT: String(await state.port('otlp')),
        QUERY_PORT: String(await state.port('jaeger')),
        QUERY_GRPC_PORT: String(await state.port('jaeger-grpc')),
        HEALTH_PORT: String(await state.port('jaeger-health')),
      },
      cwd: folder,
    });
  }
  const address = jaegerAddress(state);
  await waitForServer(processes, 'jaeger', 30_000, () => jaegerAnswers(address));
  return address;
}

export async function stopJaeger(state: State): Promise<void> {
  await state.processes.stop('jaeger', 5_000);
}

export function jaegerAddress(state: State): JaegerAddress {
  return {
    otlpEndpoint: `http://127.0.0.1:${state.keptPort('otlp')}`,
    url: `http://127.0.0.1:${state.keptPort('jaeger')}`,
  };
}

/** That it takes spans, and that it can be asked for them. */
export async function jaegerAnswers({ otlpEndpoint, url }: JaegerAddress): Promise<boolean> {
  const signal = AbortSignal.timeout(5_000);
  const taken = await fetch(`${otlpEndpoint}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"resourceSpans":[]}',
    signal,
  });
  await taken.body?.cancel();
  const services = await fetch(`${url}/api/v3/services`, { signal });
  await services.body?.cancel();
  return taken.ok && services.ok;
}
