import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureCached } from './build-cache.js';
import type { LocalConfig } from './config.js';
import { Interrupted, throwIfInterrupted } from './interruption.js';
import {
  type Filter,
  type LaneName,
  laneNames,
  lanesOfServices,
  lanesOnNode,
  lanesOnStack,
  lanesWithTraces,
  reportFile,
  runLane,
  titled,
} from './lanes.js';
import { runInside } from './node/run-inside.js';
import { nodeLaneStack } from './node-lane.js';
import { Obstacle } from './preflight.js';
import { pythonForTests } from './python.js';
import { Stack, type StackOptions } from './stack.js';
import type { State } from './state.js';
import { type LaneResult, summaryLines } from './summary.js';
import { duration, say, step } from './terminal.js';
import { newTestState, removeTestState, sweepTestStates } from './test-state.js';

export const test = {
  help: `npm test [-- [--lane NAME]… [--grep PATTERN] [--long] [PATH]…]

Runs all lanes in this order: ${laneNames.join(', ')}.
mesh, e2e, reliability and outage get a stack of their own, node and node-outage another one whose pods run (it needs
root; else they are skipped and say why). Both are stopped and deleted at the end.
The last line says:  N passed, N failed, N skipped

  --lane NAME      only this lane; may be given again
  --grep PATTERN   only tests whose name matches
  PATH             only test files whose path holds it
  --long           faults last longer and come more often; npm run chaos is the lanes reliability and outage with it
  --help           this text`,

  async run(config: LocalConfig, args: readonly string[]): Promise<number> {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { lane: { type: 'string', multiple: true }, grep: { type: 'string' }, long: { type: 'boolean' } },
      allowPositionals: true,
    });
    const filter: Filter = { grep: values.grep, paths: positionals, long: values.long ?? false };
    const narrowed = filter.grep !== undefined || filter.paths.length > 0;
    const lanes = chosenLanes(values.lane, narrowed);
    const reports = mkdtempSync(join(tmpdir(), 'odoo-mesh-test-'));
    const start = Date.now();
    try {
      const results: LaneResult[] = [];
      for (const lane of lanes.filter((name) => !lanesOnStack.has(name) && !lanesOnNode.has(name)))
        results.push(await titled(lane, () => runLane(config, lane, filter, {}, reportFile(reports, lane))));
      const compiles = results.every(({ lane, failed }) => lane !== 'types' || failed.length === 0);
      const onStack = lanes.filter((name) => lanesOnStack.has(name) && (!lanesOfServices.has(name) || compiles));
      await sweep(config);
      if (onStack.length > 0) results.push(...(await runOnStack(config, onStack, filter, reports)));
      const onNode = lanes.filter((name) => lanesOnNode.has(name));
      if (onNode.length > 0 && compiles) results.push(...(await runOnNode(config, onNode, filter, reports)));
      for (const lane of lanes.filter((name) => lanesOfServices.has(name) && !compiles))
        results.push(skippedLane(lane, 'the services do not compile'));

      say(`\n${'─'.repeat(72)}`);
      for (const { lane, ms } of results) say(`  ${lane.padEnd(12)}${duration(ms).padStart(9)}`);
      say(`  ${'together'.padEnd(12)}${duration(Date.now() - start).padStart(9)}\n`);
      for (const line of summaryLines(results)) say(line);
      return results.some(({ failed }) => failed.length > 0) ? 1 : 0;
    } finally {
      rmSync(reports, { recursive: true, force: true });
    }
  },
};

/** A filter by name or path is for tests; then the checks of the whole repository are left out. */
function chosenLanes(asked: readonly string[] | undefined, narrowed: boolean): LaneName[] {
  const unknown = asked?.filter((name) => !laneNames.includes(name as LaneName)) ?? [];
  if (unknown.length > 0) throw new Error(`no such lane: ${unknown.join(', ')}. There are ${laneNames.join(', ')}`);
  if (asked) return laneNames.filter((name) => asked.includes(name));
  return narrowed
    ? laneNames.filter((name) => name === 'unit' || lanesOnStack.has(name) || lanesOnNode.has(name))
    : [...laneNames];
}

async function runOnStack(
  config: LocalConfig,
  lanes: readonly LaneName[],
  filter: Filter,
  reports: string,
): Promise<LaneResult[]> {
  const state = newTestState();
  const stack = new Stack(config, state);
  const start = Date.now();
  const results: LaneResult[] = [];
  try {
    say(`\n── stack ${'─'.repeat(63)}`);
    const options: StackOptions = {
      sure: true,
      durable: false,
      traces: lanes.some((name) => lanesWithTraces.has(name)),
      monitoring: true,
      realNode: false,
    };
    const env = {
      ...(await stack.start(options, await stack.prepare(options))),
      ...(await pythonEnv(config)),
      ...(filter.long && { MESH_CHAOS: 'long' }),
    };
    for (const lane of lanes)
      results.push(await titled(lane, () => runLane(config, lane, filter, env, reportFile(reports, lane))));
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    say(`\n${reason}`);
    results.push(...lanes.map((lane) => withoutStack(lane, Date.now() - start, error)));
  } finally {
    results.push(...(await cleanUp(config, state)));
  }
  return results;
}

const sweep = (config: LocalConfig) =>
  sweepTestStates(config, (folder) => say(`Ending what a killed run left in ${folder}.`));

/** What goes wrong here is a failure of its own, and takes no result away. */
async function cleanUp(config: LocalConfig, state: State): Promise<LaneResult[]> {
  const start = Date.now();
  try {
    await removeTestState(config, state);
    await sweep(config); // specs that were cut off may have had a folder of their own
    return [];
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    return [{ lane: 'clean-up', ms: Date.now() - start, passed: 0, failed: [firstLine(error)], skipped: [] }];
  }
}

/** Outside: what has to be fetched and built, and the namespaces. Inside: the stack, and the tests. */
async function runOnNode(
  config: LocalConfig,
  lanes: readonly LaneName[],
  { grep, long, paths }: Filter,
  reports: string,
): Promise<LaneResult[]> {
  say(`\n── stack with a real node ${'─'.repeat(47)}`);
  const start = Date.now();
  const state = newTestState();
  const stack = new Stack(config, state);
  const result = join(reports, 'node-results.json');
  const results: LaneResult[] = [];
  try {
    const { whyNoRealNode } = await stack.prepare(nodeLaneStack);
    if (whyNoRealNode) return lanes.map((lane) => skippedLane(lane, whyNoRealNode));
    const chosen = lanes.flatMap((lane) => ['--lane', lane]);
    const filter = [...(grep ? ['--grep', grep] : []), ...(long ? ['--long'] : []), '--', ...paths];
    const files = ['--reports', reports, '--result', result];
    const status = await runInside(config, state, ['node-lane', ...chosen, ...files, ...filter]);
    throwIfInterrupted();
    if (status !== 0) throw new Error(`the lane ended with ${status} and left no result`);
    results.push(...JSON.parse(readFileSync(result, 'utf8')));
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    results.push(...lanes.map((lane) => withoutStack(lane, Date.now() - start, error)));
  } finally {
    results.push(...(await cleanUp(config, state)));
  }
  return results;
}

/** A machine that cannot have the stack skips the lane, loudly; a stack that fails to start is a failure. */
function withoutStack(lane: LaneName, ms: number, error: unknown): LaneResult {
  const reason = firstLine(error);
  if (error instanceof Obstacle) return skippedLane(lane, reason);
  return { lane, ms, passed: 0, failed: [`the stack did not start: ${reason}`], skipped: [] };
}

function skippedLane(lane: LaneName, reason: string): LaneResult {
  return { lane, ms: 0, passed: 0, failed: [], skipped: [{ what: 'the whole lane', reason }] };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
}

/** Without it the tests of foreign publishers and of the stand-in of Odoo fail and say so. */
async function pythonEnv(config: LocalConfig): Promise<Record<string, string>> {
  const env: Record<string, string> = {};
  await step('python', async (progress) => {
    const folder = await ensureCached(config.cache, pythonForTests(config), progress);
    env.MESH_PYTHON = join(folder, 'bin', 'python');
    return undefined;
  }).catch((error) => {
    if (error instanceof Interrupted) throw error;
    say(`  No Python for foreign publishers and the stand-in of Odoo: ${error.message}`);
  });
  return env;
}
