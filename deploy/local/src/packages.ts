import { accessSync, constants, existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BrokerTools } from './broker.js';
import type { LocalConfig } from './config.js';
import type { DatabaseTools } from './database.js';
import type { PrometheusTools } from './prometheus.js';
import { run } from './run.js';
import type { Progress } from './terminal.js';

/** RabbitMQ of a Debian or Ubuntu package, or of the generic archive; undefined when there is none. */
export function findBroker(): BrokerTools | undefined {
  const server = ['/usr/lib/rabbitmq/bin/rabbitmq-server', '/usr/sbin/rabbitmq-server'].find(isExecutable);
  const epmd = ['/usr/bin/epmd', '/usr/local/bin/epmd', '/usr/lib/erlang/bin/epmd'].find(isExecutable);
  return server && epmd ? { server, epmd } : undefined;
}

/** The newest PostgreSQL server of the distribution; undefined when there is none. */
export function findDatabase(): DatabaseTools | undefined {
  const root = '/usr/lib/postgresql';
  const majors = existsSync(root) ? readdirSync(root).filter((name) => /^\d+$/.test(name)) : [];
  return majors
    .sort((a, b) => Number(b) - Number(a))
    .map((major) => ({ bin: join(root, major, 'bin') }))
    .find(({ bin }) => isExecutable(join(bin, 'postgres')) && isExecutable(join(bin, 'initdb')));
}

/** Prometheus with promtool, of the folder that was named or of the distribution; undefined when there is none. */
export function findPrometheus({ prometheusFolder = '/usr/bin' }: LocalConfig): PrometheusTools | undefined {
  const tools = { prometheus: join(prometheusFolder, 'prometheus'), promtool: join(prometheusFolder, 'promtool') };
  return Object.values(tools).every(isExecutable) ? tools : undefined;
}

/** Why there is no Prometheus, with what can be done; undefined when there is one. */
export function whyNoPrometheus(config: LocalConfig): string | undefined {
  if (findPrometheus(config)) return undefined;
  if (config.prometheusFolder) return `MESH_PROMETHEUS=${config.prometheusFolder} holds no prometheus and promtool`;
  return whyNotInstallable(config, ['prometheus']) ?? 'prometheus is not installed';
}

export function hasOpenssl(): boolean {
  return isExecutable('/usr/bin/openssl') || isExecutable('/usr/local/bin/openssl');
}

/** Why packages cannot be installed by us, with the line to run; undefined when they can. */
export function whyNotInstallable(config: LocalConfig, packages: readonly string[]): string | undefined {
  const line = `apt-get install -y --no-install-recommends ${packages.join(' ')}`;
  if (!existsSync('/usr/bin/apt-get'))
    return `this is not Debian or Ubuntu: install ${packages.join(' and ')} yourself, or start Docker`;
  if (!config.isRoot) return `installing needs root; run:  sudo ${line}`;
  return undefined;
}

/**
 * Installs packages of the distribution. Their own services are kept from starting, for we run our own processes: by
 * the machine's policy if it has one, else by one that ends by itself should we be killed meanwhile.
 */
export async function installPackages(
  config: LocalConfig,
  packages: readonly string[],
  progress: Progress,
): Promise<void> {
  const env = { ...config.environment, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const policy = '/usr/sbin/policy-rc.d';
  const ours = !existsSync(policy);
  if (ours)
    writeFileSync(policy, `#!/bin/sh\nkill -0 ${process.pid} 2>/dev/null && exit 101\nexit 0\n`, { mode: 0o755 });
  try {
    progress('apt-get update');
    await run('apt-get', ['update', '-q'], { env, finishFirst: true });
    progress(`apt-get install ${packages.join(' ')}`);
    await run('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...packages], { env, finishFirst: true });
  } finally {
    if (ours) rmSync(policy, { force: true });
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
