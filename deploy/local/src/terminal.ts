import { createInterface } from 'node:readline/promises';
import { interruption, throwIfInterrupted } from './interruption.js';

/** Seconds with one digit below a minute, else `4m 05s`. */
export function duration(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)}m ${String(Math.floor(seconds % 60)).padStart(2, '0')}s`;
}

export function say(text = ''): void {
  process.stdout.write(`${text}\n`);
}

/** Tells how a step comes along: rewritten in place on a terminal, else a line now and then. */
export type Progress = (note: string) => void;

/**
 * Runs one step and shows it as a line with its time: `✓ database  1.9 s`. The step may return a note that is shown
 * behind. A step that throws is shown with ✗ and throws on.
 */
export async function step(name: string, run: (progress: Progress) => Promise<string | undefined>): Promise<void> {
  throwIfInterrupted();
  const start = Date.now();
  const terminal = process.stdout.isTTY;
  let lastPlainLine = start;
  const line = (mark: string, note: string) => `${mark} ${name.padEnd(16)} ${note}`;
  const progress: Progress = (note) => {
    if (terminal) process.stdout.write(`\r\x1b[K${line('…', note).slice(0, (process.stdout.columns ?? 80) - 1)}`);
    else if (Date.now() - lastPlainLine > 15_000) {
      lastPlainLine = Date.now();
      say(line('…', note));
    }
  };
  const done = (mark: string, note: string) => say(`${terminal ? '\r\x1b[K' : ''}${line(mark, note)}`);

  try {
    const note = await run(progress);
    done('✓', `${duration(Date.now() - start).padStart(7)}${note ? `  ${note}` : ''}`);
  } catch (error) {
    done('✗', `${duration(Date.now() - start).padStart(7)}`);
    throw error;
  }
}

/** Asks a yes/no question; an empty answer is yes. */
export async function confirm(question: string): Promise<boolean> {
  const dialogue = createInterface({ input: process.stdin, output: process.stdout });
  try {
    const answer = await dialogue.question(`${question} [Y/n] `, { signal: interruption });
    return /^(y(es)?)?$/i.test(answer.trim());
  } catch (error) {
    throwIfInterrupted();
    throw error;
  } finally {
    dialogue.close();
  }
}
