import { mkdirSync, writeFileSync } from 'node:fs';
import type { State } from './state.js';
import { waitForServer } from './wait.js';

/** Paths of the programs. */
export interface PrometheusTools {
  readonly prometheus: string;
  readonly promtool: string;
}

export interface PrometheusPlan {
  /** The rule file. */
  readonly rules: string;
  /** What is read, and under which `job`; addresses are `host:port`, read at `/metrics`. */
  readonly targets: readonly { readonly job: string; readonly address: string }[];
  /** How often it reads, and evaluates the rules, for instance `15s`. */
  readonly every: string;
}

/**
 * Prometheus as a process of ours, on the loopback, with its data below `<state>/prometheus`. Resolves to its address when
 * it answers; throws with the last lines of its log when it does not. `state.processes.stop('prometheus')` ends it.
 */
export async function startPrometheus(state: State, tools: PrometheusTools, plan: PrometheusPlan): Promise<string> {
  const folder = state.path('prometheus');
  const config = state.path('prometheus', 'prometheus.yml');
  const port = await state.port('prometheus');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // JSON is YAML.
  writeFileSync(config, JSON.stringify(configuration(plan), null, 2), { mode: 0o600 });
  await state.processes.start({
    name: 'prometheus',
    command: tools.prometheus,
    args: [
      `--config.file=${config}`,
      `--storage.tsdb.path=${state.path('prometheus', 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    env: { PATH: '/usr/bin:/bin' },
    cwd: folder,
  });
  const url = `http://127.0.0.1:${port}`;
  await waitForServer(state.processes, 'prometheus', 30_000, async () => {
    const response = await fetch(`${url}/-/ready`, { signal: AbortSignal.timeout(2_000) });
    await response.body?.cancel();
    return response.ok;
  });
  return url;
}

function configuration({ rules, targets, every }: PrometheusPlan): object {
  return {
    global: { scrape_interval: every, scrape_timeout: every, evaluation_interval: every },
    rule_files: [rules],
    scrape_configs: targets.map(({ job, address }) => ({ job_name: job, static_configs: [{ targets: [address] }] })),
  };
}
