import { setTimeout as sleep } from 'node:timers/promises';
import { throwIfInterrupted } from './interruption.js';
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
  try {
    await waitUntil(`${name} does not answer`, answers, {
      withinMs,
      stillHopeful: () => {
        if (!processes.alive(name)) throw new Error(`${name} ended right after its start`);
      },
    });
  } catch (error) {
    const log = processes.lastLines(name).replace(/^/gm, '    ');
    throw new Error(`${(error as Error).message}\n  Last lines of ${processes.logFile(name)}:\n${log}`);
  }
}
