import { bench } from './bench.js';
import { readConfig } from './config.js';
import { down } from './down.js';
import { catchSignals, Interrupted } from './interruption.js';
import { stack } from './stack-command.js';
import { say } from './terminal.js';
import { test } from './test.js';
import { up } from './up.js';

const commands = { up, stack, down, test, bench };

/** Runs one command of `npm run …` and resolves to its exit code. */
export async function main([name = '', ...args]: readonly string[]): Promise<number> {
  const command = commands[name as keyof typeof commands];
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
