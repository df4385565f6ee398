import { setTimeout as sleep } from 'node:timers/promises';
import { Interrupted, throwIfInterrupted } from './interruption.js';
import type { Processes } from './processes.js';

/**
 * Asks again and again until the answer is true. An error of `check` counts as "not yet" and is named when the time is
 * up; an error of `stillHopeful` ends the waiting at once (the process died, for instance).
 */
export async function waitUntil(
  what: string,
  check: () => Promise<boolean>,
  options: { withinMs: number; everyMs?: number; stillHopeful?: () => void },
): Promise<void> {
  const deadline = Date.now() + options.withinMs;
  let last = '';
  for (;;) {
    try {
      if (await check()) return;
      last = '';
    } catch (error) {
      last = `: ${error instanceof Error ? error.message : error}`;
    }
    throwIfInterrupted();
    options.stillHopeful?.();
    if (Date.now() > deadline) throw new Error(`${what}: not after ${Math.round(options.withinMs / 1000)} s${last}`);
    await sleep(options.everyMs ?? 100);
  }
}

/** Waits until a server answers. Gives up at once when its process ends; the error shows the last lines of its log. */
export async function waitForServer(
  processes: Processes,
  name: string,
  withinMs: number,
  answers: () => Promise<boolean>,
): Promise<void> {
  await waitUntil(`${name} does not answer`, answers, {
    withinMs,
    stillHopeful: () => expectAlive(processes, name),
  }).catch((error) => {
    if (error instanceof Interrupted || !processes.alive(name)) throw error; // the latter has its log already
    throw new Error(`${error.message}\n${logOf(processes, name)}`);
  });
}

/** Throws with the last lines of its log when the process has ended. */
export function expectAlive(processes: Processes, name: string): void {
  if (!processes.alive(name)) throw new Error(`${name} ended right after its start.\n${logOf(processes, name)}`);
}

function logOf(processes: Processes, name: string): string {
  return `Last lines of ${processes.logFile(name)}:\n${processes.lastLines(name).replace(/^/gm, '    ')}`;
}
