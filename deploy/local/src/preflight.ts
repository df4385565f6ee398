import { existsSync } from 'node:fs';
import { type CacheEntry, isCached } from './build-cache.js';
import type { LocalConfig } from './config.js';
import { controlPlane, definitions, findGo, goToolchain, jaeger, kwok, versitygw } from './go.js';
import { filesImageBase } from './node/files-image.js';
import { standInImage } from './node/odoo-image.js';
import { nodeBuilds, nodePackages } from './node/real-node.js';
import {
  findBroker,
  findDatabase,
  findPrometheus,
  hasOpenssl,
  whyNoPrometheus,
  whyNotInstallable,
} from './packages.js';
import type { Choices, Component } from './rungs.js';
import { confirm, say } from './terminal.js';

/** Something that only a person can mend; the message says how. */
export class Obstacle extends Error {}

/** One thing that has to be fetched or made before the stack can start. */
export interface Work {
  readonly what: string;
  readonly minutes: number;
  readonly megabytes: number;
}

export interface Plan {
  /** Packages of the distribution to install. */
  readonly packages: readonly string[];
  /** Entries of the build cache to make. */
  readonly builds: readonly CacheEntry[];
}

export interface Wanted {
  /** Prometheus too, where we can install it; where we cannot, whatever needs it does without. */
  readonly monitoring: boolean;
  readonly realNode: boolean;
}

/** What is missing on this machine for the chosen rungs. */
export async function makePlan(config: LocalConfig, choices: Choices, { monitoring, realNode }: Wanted): Promise<Plan> {
  const own = (component: Component) => choices[component]?.rung === 'own';
  const packages: string[] = [];
  if (own('broker') && !findBroker()) packages.push('rabbitmq-server');
  if (own('database') && !findDatabase()) packages.push('postgresql');
  if (own('cluster') && !hasOpenssl()) packages.push('openssl');
  if (monitoring && !config.prometheusFolder && !findPrometheus(config) && !whyNotInstallable(config, ['prometheus']))
    packages.push('prometheus');

  if (realNode) packages.push(...nodePackages.filter(({ file }) => !existsSync(file)).map(({ name }) => name));

  const entries: CacheEntry[] = [];
  if (own('cluster')) entries.push(controlPlane(config), kwok(config));
  if (choices.cluster.rung !== 'given') entries.push(definitions(config));
  if (own('s3')) entries.push(versitygw(config));
  if (own('jaeger')) entries.push(jaeger(config));
  if (realNode)
    entries.push(...nodeBuilds(config), filesImageBase(config), ...(config.odooImage ? [] : [standInImage(config)]));
  const builds = entries.filter((entry) => !isCached(config.cache, entry));
  if (builds.length > 0 && !(await findGo(config))) builds.unshift(goToolchain(config));
  return { packages, builds };
}

export function workOf({ packages, builds }: Plan): Work[] {
  return [
    ...packages.map((name) => ({ what: `install ${name} from this distribution`, minutes: 1, megabytes: 100 })),
    ...builds.map(({ what, cost }) => ({ what, ...cost })),
  ];
}

/** What the preflight prints: where each component comes from and why, then what has to be done first. */
export function preflightText(choices: Choices, work: readonly Work[]): string {
  const from = { given: 'given address', docker: 'docker compose', own: 'own process' };
  const found = Object.entries(choices).map(
    ([component, { rung, why }]) => `  ${component.padEnd(10)}${from[rung].padEnd(16)}${why}`,
  );
  if (work.length === 0) return found.join('\n');

  const row = (what: string, minutes: number, megabytes: number) =>
    `  ${what.padEnd(52)}${`${Math.ceil(minutes)} min`.padStart(7)}${`${megabytes} MB`.padStart(9)}`;
  const total = work.reduce((sum, { minutes, megabytes }) => ({ m: sum.m + minutes, b: sum.b + megabytes }), {
    m: 0,
    b: 0,
  });
  return [
    ...found,
    '',
    'To be done first (times on two cores):',
    ...work.map(({ what, minutes, megabytes }) => row(what, minutes, megabytes)),
    row('together', total.m, total.b),
  ].join('\n');
}

/**
 * Prints the preflight and asks before anything is installed or built. `sure` answers yes. Throws when the person says
 * no, when nobody is there to ask, or when something is missing that only a person can install.
 */
export async function preflight(
  config: LocalConfig,
  choices: Choices,
  options: Wanted & { readonly sure: boolean; readonly whyNoRealNode: string | undefined },
): Promise<Plan> {
  const plan = await makePlan(config, choices, options);
  const work = workOf(plan);
  say(preflightText(choices, work));
  if (options.whyNoRealNode) say(`  Pods do not run, they are simulated: ${options.whyNoRealNode}`);
  if (config.ambientKubeconfig && choices.cluster.rung !== 'given')
    say(`  KUBECONFIG=${config.ambientKubeconfig} is ignored: it may be somebody's cluster (MESH_KUBECONFIG is not).`);
  const without = options.monitoring && !plan.packages.includes('prometheus') ? whyNoPrometheus(config) : undefined;
  if (without) say(`  There is no Prometheus: ${without}`);
  say();

  const obstacle = plan.packages.length > 0 ? whyNotInstallable(config, plan.packages) : undefined;
  if (obstacle) throw new Obstacle(`${plan.packages.join(' and ')} is missing, and ${obstacle}`);
  if (work.length > 0 && !options.sure && !config.ci) {
    if (!process.stdin.isTTY) throw new Error('nobody is there to be asked: run it again with  -- --yes');
    if (!(await confirm('Go ahead?'))) throw new Error('nothing was installed, built or started');
  }
  return plan;
}
