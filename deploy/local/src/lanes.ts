import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { LocalConfig } from './config.js';
import { show } from './run.js';
import { type LaneResult, resultOfJest } from './summary.js';
import { duration, say } from './terminal.js';

/** In the order in which they run: the cheap ones first. */
export const laneNames = [
  'lint',
  'rules',
  'types',
  'contracts',
  'unit',
  'mesh',
  'e2e',
  'reliability',
  'outage',
  'node',
  'node-outage',
] as const;
export type LaneName = (typeof laneNames)[number];

/** Lanes on a stack whose pods run, of their own. */
export const lanesOnNode: ReadonlySet<LaneName> = new Set(['node', 'node-outage']);

/** Lanes that talk to a broker, a database and a cluster with simulated nodes. */
export const lanesOnStack: ReadonlySet<LaneName> = new Set(['mesh', 'e2e', 'reliability', 'outage']);

/** Lanes that run the compiled services. */
export const lanesOfServices: ReadonlySet<LaneName> = new Set(['e2e', 'reliability', 'outage', 'node', 'node-outage']);

/** Lanes that read traces back. */
export const lanesWithTraces: ReadonlySet<LaneName> = new Set(['e2e']);

/** What kills a server of the stack, or opens it to everybody, must have it for itself. */
const lanesAlone: ReadonlySet<LaneName> = new Set(['outage', 'node-outage']);

export interface Filter {
  /** Only tests whose full name matches. */
  readonly grep: string | undefined;
  /** Only test files whose path holds one of these. */
  readonly paths: readonly string[];
  /** Tests of faults take their long form. */
  readonly long: boolean;
}

const checks: Partial<Record<LaneName, { says: string; command: string; args: readonly string[] }>> = {
  lint: { says: 'format and lint', command: 'biome', args: ['check', '.'] },
  rules: { says: 'arrows between folders', command: 'npm', args: ['run', '--silent', 'rules'] },
  types: { says: 'the code compiles', command: 'npm', args: ['run', '--silent', 'build'] },
  contracts: { says: 'generated files are fresh', command: 'npm', args: ['run', '--silent', 'contracts:check'] },
};

/** Runs one lane with its output shown live. `env` holds the stack's addresses for the lanes that need them. */
export async function runLane(
  config: LocalConfig,
  lane: LaneName,
  filter: Filter,
  env: Readonly<Record<string, string>>,
  reportFile: string,
): Promise<LaneResult> {
  const start = Date.now();
  const check = checks[lane];
  if (check) {
    const status = await show(check.command, check.args, { cwd: config.root, env: config.environment });
    const ms = Date.now() - start;
    return { lane, ms, passed: status === 0 ? 1 : 0, failed: status === 0 ? [] : [check.says], skipped: [] };
  }

  const jest = ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', 'node_modules/jest/bin/jest.js'];
  const options = ['--selectProjects', lane, '--passWithNoTests', '--json', `--outputFile=${reportFile}`];
  const alone = lanesAlone.has(lane) ? ['--runInBand'] : [];
  const only = [...alone, ...(filter.grep ? ['-t', filter.grep] : []), ...filter.paths];
  const status = await show(process.execPath, [...jest, ...options, ...only], {
    cwd: config.root,
    env: { ...config.environment, ...env },
  });
  const ms = Date.now() - start;
  try {
    const result = resultOfJest(lane, ms, JSON.parse(readFileSync(reportFile, 'utf8')), filter.grep !== undefined);
    if (status === 0 || result.failed.length > 0) return result;
    return { ...result, failed: [`jest ended with ${status}, though no test failed`] };
  } catch (error) {
    return { lane, ms, passed: 0, failed: [`jest left no report: ${error}`], skipped: [] };
  }
}

/** The file of a lane's report below a folder. */
export function reportFile(folder: string, lane: LaneName): string {
  return join(folder, `${lane}.json`);
}

/** With the lane's name over it, and its time below. */
export async function titled(lane: LaneName, run: () => Promise<LaneResult>): Promise<LaneResult> {
  say(`\n── ${lane} ${'─'.repeat(68 - lane.length)}`);
  const result = await run();
  say(`   ${lane}: ${duration(result.ms)}`);
  return result;
}
