import { join } from 'node:path';
import type { LocalConfig } from './config.js';
import { isInside } from './node/namespaces.js';
import { runInside } from './node/run-inside.js';
import { show } from './run.js';
import { ownChoices, type Prepared, Stack } from './stack.js';
import { State } from './state.js';
import { say } from './terminal.js';
import { newTestState, removeTestState, sweepTestStates } from './test-state.js';

export const bench = {
  help: `npm run bench [-- [--only NAME]… [--real-node] [--quick] [--cpu] [--profile] [--yes]]

Measures what the mesh costs against bare references, both in the same run and in turn, on a stack of its own that is
stopped and deleted at the end. Says ratio and goal of each figure and writes test/bench/results/NAME.json. A goal that
is missed is no failure; the exit code is not 0 when something did not work. What the benches are: test/bench/README.md.

  --real-node   instead of the others, those whose pods have to run (it needs root)
  --only NAME   only this bench; may be given again. A wrong name shows them all
  --quick       small numbers: to see whether it works, not to believe, so nothing is written
  --cpu         say which programs of this machine did the work of a side (lifecycle, backup), servers included
  --profile     take a CPU profile of each side and say where its time went; the figures suffer
  --yes         install and build what is missing without asking
  --help        this text`,

  async run(config: LocalConfig, args: readonly string[]): Promise<number> {
    const program = join(config.root, 'dist/test/bench/main.js');
    const rest = args.filter((one) => one !== '--yes');
    const runProgram = (more: readonly string[], env: Readonly<Record<string, string>>) =>
      show(process.execPath, [program, ...rest, ...more], {
        cwd: config.root,
        env: { ...config.environment, ...env },
      });
    const wrong = await runProgram(['--plan'], {});
    if (wrong) return wrong;

    const sweep = () => sweepTestStates(config, (folder) => say(`Ending what a killed run left in ${folder}.`));
    const around = new State(config.state);
    if (!isInside(around)) await sweep();
    const state = isInside(around) ? around : newTestState();
    try {
      say(`\n── stack ${'─'.repeat(63)}`);
      // Durable, unlike that of the tests: a database that does not wait for its disk flatters whoever writes much.
      const stack = new Stack(config, state);
      const sure = args.includes('--yes');
      const inNode = isInside(state);
      const realNode = args.includes('--real-node');
      const options = { sure, durable: true, traces: false, monitoring: false, realNode };
      const prepared: Prepared = inNode ? { choices: ownChoices(), realNode } : await stack.prepare(options);
      if (realNode && prepared.whyNoRealNode) throw new Error(`there can be no real node: ${prepared.whyNoRealNode}`);
      if (realNode && !inNode) return await runInside(config, state, ['bench', ...args]);
      const env = await stack.start(options, prepared);
      return await runProgram([], { ...env });
    } finally {
      if (!isInside(state)) await removeTestState(config, state);
    }
  },
};
