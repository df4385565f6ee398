import { bench } from './bench.js';
import { readConfig } from './config.js';
import { down } from './down.js';
import { catchSignals, Interrupted } from './interruption.js';
import { nodeLane } from './node-lane.js';
import { stack } from './stack-command.js';
import { say } from './terminal.js';
import { test } from './test.js';
import { up } from './up.js';

const commands = { up, stack, down, test, bench };
/** What our commands call themselves. */
const parts = { 'node-lane': nodeLane };

/** Runs one command of `npm run …` and resolves to its exit code. */
export async function main([name = '', ...args]: readonly string[]): Promise<number> {
  const command = new Map(Object.entries({ ...commands, ...parts })).get(name);
  if (!command) {
    say(`Usage: node deploy/local/main.js ${Object.keys(commands).join('|')} [--help]`);
    return 2;
  }
  if (args.includes('--help') || args.includes('-h')) {
    say(command.help);
    return 0;
  }
  catchSignals();
  try {
    return await command.run(readConfig(), args);
  } catch (error) {
    if (error instanceof Interrupted) {
      say('\nInterrupted.');
      return 130;
    }
    say(`\n${error instanceof Error ? error.message : error}`);
    return 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
