import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readConfig } from '#local/config.js';
import type { StackEnv } from '#local/env-file.js';
import { catchSignals, Interrupted, throwIfInterrupted } from '#local/interruption.js';
import { duration, say } from '#local/terminal.js';
import { stackEnvironment } from '../e2e/config.js';
import type { Bench, Measured } from './bench.js';
import { benches } from './benches.js';
import { ContenderProcess } from './contender-process.js';
import { type Figure, figureOf, median, rounded, tableOf } from './figures.js';
import { busiestOf } from './profile.js';
import { versionsOf } from './versions.js';

interface Options {
  readonly quick: boolean;
  /** Where CPU profiles are put. */
  readonly profiles: string | undefined;
  /** Whether it is told which programs of this machine have done the work. */
  readonly cpu: boolean;
}

interface Result {
  readonly figures: readonly Figure[];
  /** The median of each quantity of each contender. */
  readonly contenders: Readonly<Record<string, Measured>>;
}

/** The benches of `npm run bench`, on a stack that runs. See deploy/local/src/bench.ts for who starts it. */
async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', multiple: true },
      quick: { type: 'boolean', default: false },
      profile: { type: 'boolean', default: false },
      cpu: { type: 'boolean', default: false },
      plan: { type: 'boolean', default: false },
      'real-node': { type: 'boolean', default: false },
    },
  });
  const unknown = values.only?.filter((name) => !benches.some((one) => one.name === name)) ?? [];
  if (unknown.length > 0) {
    say(`There is no bench ${unknown.join(', ')}. There are:`);
    for (const { name, says } of benches) say(`  ${name.padEnd(16)} ${says}`);
    return 2;
  }
  const possible = benches.filter(({ realNode = false }) => realNode === values['real-node']);
  const chosen = possible.filter(({ name }) => values.only?.includes(name) ?? true);
  if (values.plan) {
    sayPlan(chosen, values.quick);
    return 0;
  }
  const stack = stackEnvironment();
  const { root } = readConfig();
  const options: Options = {
    quick: values.quick,
    profiles: values.profile ? join(stack.MESH_STATE, 'profiles') : undefined,
    cpu: values.cpu,
  };
  const versions = await versionsOf(stack, root);
  const cores = availableParallelism();
  say(
    `\n${cores} cores; ${Object.entries(versions)
      .map((entry) => entry.join(' '))
      .join(', ')}`,
  );

  const rows: { bench: string; figure: Figure }[] = [];
  const broken: string[] = [];
  for (const bench of chosen) {
    throwIfInterrupted();
    try {
      const result = await run(bench, stack, options);
      for (const figure of result.figures) rows.push({ bench: bench.name, figure });
      if (!options.quick) write(root, bench, { cores, versions }, result);
    } catch (error) {
      throwIfInterrupted();
      broken.push(bench.name);
      say(`   ✗ ${error instanceof Error ? error.message : error}`);
    }
  }
  say(`\n${'─'.repeat(72)}`);
  for (const line of tableOf(rows)) say(line);
  if (broken.length > 0) say(`\nBroken, so without figures: ${broken.join(', ')}`);
  return broken.length > 0 ? 1 : 0;
}

/** Before the stack is there: what will be done, and how long it takes. */
function sayPlan(chosen: readonly Bench[], quick: boolean): void {
  const minutesOf = (bench: Bench) => bench.size[quick ? 'quick' : 'full'].minutes;
  for (const bench of chosen)
    say(`  ${bench.name.padEnd(16)} ${String(minutesOf(bench)).padStart(4)} min  ${bench.says}`);
  const all = chosen.reduce((sum, bench) => sum + minutesOf(bench), 0);
  say(
    `  ${'together'.padEnd(16)} ${String(Math.round(all * 10) / 10).padStart(4)} min, on two cores that do nothing else`,
  );
}

async function run(bench: Bench, stack: StackEnv, options: Options): Promise<Result> {
  const { n, rounds, warmUp, minutes } = bench.size[options.quick ? 'quick' : 'full'];
  say(`\n── ${bench.name} ${'─'.repeat(68 - bench.name.length)}`);
  say(`   ${bench.says}`);
  say(`   N = ${n}, ${rounds} rounds, about ${minutes} min`);
  const start = Date.now();
  const { setting, tearDown } = await bench.setUp(stack, n, options.profiles);
  const processes = new Map<string, ContenderProcess>();
  const measured: Record<string, Measured[]> = {};
  try {
    for (const [name, { share = 1 }] of Object.entries(bench.contenders)) {
      throwIfInterrupted();
      const contender = await ContenderProcess.start(bench.name, name, setting, options);
      processes.set(name, contender);
      measured[name] = [];
      if (warmUp > 0) await contender.round(Math.ceil(warmUp * share));
    }
    for (let round = 1; round <= rounds; round++)
      for (const [name, contender] of processes) {
        throwIfInterrupted();
        const { share = 1, rounds: its = rounds } = bench.contenders[name]!;
        if (round > its) continue;
        const one = await contender.round(Math.ceil(n * share));
        measured[name]!.push(one);
        say(`   ${round}/${its}  ${name.padEnd(22)} ${describe(one)}`);
      }
  } finally {
    await Promise.allSettled([...processes.values()].map((contender) => contender.stop()));
    await tearDown();
  }
  say(`   ${duration(Date.now() - start)}`);
  if (options.profiles) for (const line of busiestOf(options.profiles, bench.name)) say(`   ${line}`);
  return {
    figures: bench.comparisons.map((comparison) => figureOf(comparison, measured)),
    contenders: Object.fromEntries(Object.entries(measured).map(([name, all]) => [name, mediansOf(all)])),
  };
}

function mediansOf(all: readonly Measured[]): Measured {
  const quantities = Object.keys(all[0] ?? {});
  return Object.fromEntries(
    quantities.map((quantity) => [quantity, rounded(median(all.map((one) => one[quantity]!)))]),
  );
}

function describe(measured: Measured): string {
  return Object.entries(measured)
    .map(([quantity, value]) => `${quantity} ${rounded(value)}`)
    .join('  ');
}

/** For the repository: no path, no host name, no time of day; what changes in a file is what was measured. */
function write(
  root: string,
  bench: Bench,
  machine: { readonly cores: number; readonly versions: Readonly<Record<string, string>> },
  result: Result,
): void {
  const folder = join(root, 'test/bench/results');
  mkdirSync(folder, { recursive: true });
  const { n, rounds } = bench.size.full;
  const { name, says, notes } = bench;
  const content = { bench: name, says, n, rounds, ...machine, ...result, notes };
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify(content, null, 2)}\n`);
}

catchSignals();
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Interrupted)) throw error;
  process.exitCode = 130;
}
