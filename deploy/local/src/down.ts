import { existsSync, rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { LocalConfig } from './config.js';
import { lockHolder } from './lock.js';
import { upLock } from './owner.js';
import { startTimeOf } from './processes.js';
import { Stack } from './stack.js';
import { isOurs, State } from './state.js';
import { say, step } from './terminal.js';
import { waitUntil } from './wait.js';

export const down = {
  help: `npm run down [-- --wipe [--cache]]

Stops everything that npm run up or npm run stack started, in the right order. Data stays.

  --wipe    also deletes the state folder: databases, queues, the cluster, logs, passwords
  --cache   with --wipe: also deletes the build cache (building it again takes some minutes)
  --help    this text`,

  async run(config: LocalConfig, args: readonly string[]): Promise<number> {
    const { values } = parseArgs({
      args: [...args],
      options: { wipe: { type: 'boolean', default: false }, cache: { type: 'boolean', default: false } },
    });
    if (values.cache && !values.wipe) throw new Error('--cache goes only with --wipe');

    if (existsSync(config.state)) {
      const state = new State(config.state);
      await endUp(state);
      await step('stopped', async () => {
        const ran = await new Stack(config, state).stop({ wipe: values.wipe });
        return ran.length > 0 ? ran.join(', ') : 'nothing ran';
      });
    } else say(`Nothing runs: there is no ${config.state}.`);

    for (const folder of values.wipe ? [config.state, ...(values.cache ? [config.cache] : [])] : []) {
      if (!isOurs(folder)) continue;
      rmSync(folder, { recursive: true, force: true });
      say(`Deleted ${folder}.`);
    }
    return 0;
  },
};

/** `npm run up` cleans up after itself when it is asked to leave. */
async function endUp(state: State): Promise<void> {
  const up = lockHolder(upLock(state));
  if (!up) return;
  await step('npm run up', async () => {
    process.kill(up.pid, 'SIGTERM');
    await waitUntil(`npm run up (pid ${up.pid}) does not leave`, async () => startTimeOf(up.pid) !== up.startTime, {
      withinMs: 90_000,
    });
    return `pid ${up.pid} left`;
  });
}
