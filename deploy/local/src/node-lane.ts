import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { LocalConfig } from './config.js';
import { Interrupted } from './interruption.js';
import { lanesOnNode, reportFile, runLane, titled } from './lanes.js';
import { ownChoices, Stack, type StackOptions } from './stack.js';
import { State } from './state.js';
import type { LaneResult } from './summary.js';
import { say } from './terminal.js';

/** Of the lane whose pods run. */
export const nodeLaneStack: StackOptions = {
  sure: true,
  durable: false,
  traces: true,
  monitoring: false,
  realNode: true,
};

/** The part of the lanes `node` and `node-outage` that runs inside. Not for people: `npm test` calls it. */
export const nodeLane = {
  help: 'npm test runs this inside the namespaces of a real node; use: npm test -- --lane node',

  async run(config: LocalConfig, args: readonly string[]): Promise<number> {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: {
        lane: { type: 'string', multiple: true, default: [] },
        reports: { type: 'string' },
        result: { type: 'string' },
        grep: { type: 'string' },
        long: { type: 'boolean', default: false },
      },
      allowPositionals: true,
    });
    const { reports, result } = values;
    if (!reports || !result) throw new Error(this.help);
    const lanes = [...lanesOnNode].filter((lane) => values.lane.includes(lane));
    const stack = new Stack(config, new State(config.state));
    const start = Date.now();
    try {
      const env = await stack.start(nodeLaneStack, { choices: ownChoices(), realNode: true });
      const filter = { grep: values.grep, paths: positionals, long: values.long };
      const results: LaneResult[] = [];
      for (const lane of lanes)
        results.push(await titled(lane, () => runLane(config, lane, filter, { ...env }, reportFile(reports, lane))));
      writeFileSync(result, JSON.stringify(results));
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      say(`\n${reason}`);
      const failed = [`the stack did not start: ${reason.split('\n')[0]}`];
      const ms = Date.now() - start;
      writeFileSync(result, JSON.stringify(lanes.map((lane) => ({ lane, ms, passed: 0, failed, skipped: [] }))));
    }
    return 0;
  },
};
