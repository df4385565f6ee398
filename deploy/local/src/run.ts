import { spawn } from 'node:child_process';
import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';
import { interruption, throwIfInterrupted } from './interruption.js';

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Each line of standard error as it comes. */
  readonly onErrorLine?: (line: string) => void;
  /** Leaves the machine usable meanwhile. */
  readonly lowPriority?: boolean;
  /** True for what must not be cut in the middle; a signal then takes effect afterwards. */
  readonly finishFirst?: boolean;
}

/**
 * Runs a command to its end and resolves to its standard output. Throws with the last lines of its standard error when
 * it fails or cannot be found. An interruption ends it.
 */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  if (!options.finishFirst) throwIfInterrupted();
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env as NodeJS.ProcessEnv | undefined,
    stdio: ['ignore', 'pipe', 'pipe'],
    signal: options.finishFirst ? undefined : interruption,
    detached: options.finishFirst, // then Ctrl-C in the terminal does not reach it either
  });
  let output = '';
  const errorLines: string[] = [];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  createInterface({ input: child.stderr }).on('line', (line) => {
    options.onErrorLine?.(line);
    errorLines.push(line);
    if (errorLines.length > 15) errorLines.shift();
  });

  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('spawn', () => {
      if (options.lowPriority && child.pid) setPriority(child.pid, constants.priority.PRIORITY_BELOW_NORMAL);
    });
    child.once('close', (code) => resolve(code ?? 1));
  }).catch((error) => {
    throwIfInterrupted();
    throw new Error(`${command} cannot be run: ${error.message}`);
  });
  if (!options.finishFirst) throwIfInterrupted();
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n    ${errorLines.join('\n    ')}`);
  return output;
}

/**
 * Runs a command that talks to the person directly (its output is ours) and resolves to its exit code. An interruption
 * ends it and throws.
 */
export async function show(
  command: string,
  args: readonly string[],
  options: { cwd: string; env: Readonly<Record<string, string | undefined>> },
): Promise<number> {
  throwIfInterrupted();
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env as NodeJS.ProcessEnv,
    stdio: ['ignore', 'inherit', 'inherit'],
    signal: interruption,
  });
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', (error) => {
      if (!interruption.aborted) reject(new Error(`${command} cannot be run: ${error.message}`));
    });
    child.once('close', (code) => resolve(code ?? 1));
  });
  throwIfInterrupted();
  return status;
}
