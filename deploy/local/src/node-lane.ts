import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { LocalConfig } from './config.js';
import { Interrupted } from './interruption.js';
import { runLane } from './lanes.js';
import { ownChoices, Stack, type StackOptions } from './stack.js';
import { State } from './state.js';
import { say } from './terminal.js';

/** Of the lane whose pods run. */
export const nodeLaneStack: StackOptions = {
  sure: true,
  durable: false,
  traces: true,
  monitoring: false,
  realNode: true,
};

/** The part of the lane `node` that runs inside. Not for people: `npm test -- --lane node` calls it. */
export const nodeLane = {
  help: 'npm test runs this inside the namespaces of a real node; use: npm test -- --lane node',

  async run(config: LocalConfig, args: readonly string[]): Promise<number> {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: {
        report: { type: 'string' },
        result: { type: 'string' },
        grep: { type: 'string' },
        long: { type: 'boolean', default: false },
      },
      allowPositionals: true,
    });
    const { report, result } = values;
    if (!report || !result) throw new Error(this.help);
    const stack = new Stack(config, new State(config.state));
    const start = Date.now();
    try {
      const env = await stack.start(nodeLaneStack, { choices: ownChoices(), realNode: true });
      const filter = { grep: values.grep, paths: positionals, long: values.long };
      writeFileSync(result, JSON.stringify(await runLane(config, 'node', filter, { ...env }, report)));
    } catch (error) {
      if (error instanceof Interrupted) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      say(`\n${reason}`);
      const failed = [`the stack did not start: ${reason.split('\n')[0]}`];
      writeFileSync(result, JSON.stringify({ lane: 'node', ms: Date.now() - start, passed: 0, failed, skipped: [] }));
    }
    return 0;
  },
};
