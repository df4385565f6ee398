const controller = new AbortController();

/** Aborted by the first Ctrl-C (or SIGTERM, SIGHUP): running steps end with an `Interrupted` error. */
export const interruption = controller.signal;

export class Interrupted extends Error {
  constructor() {
    super('interrupted');
  }
}

export function throwIfInterrupted(): void {
  if (interruption.aborted) throw new Interrupted();
}

/**
 * From now on a signal does not end this process; it interrupts what runs, so that the command can clean up. One
 * Ctrl-C arrives several times (from the terminal and from npm), so later ones are ignored.
 */
export function catchSignals(): void {
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => controller.abort());
}

/** Resolves with the first signal. */
export function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    if (interruption.aborted) return resolve();
    const keepAlive = setInterval(() => {}, 60_000); // a promise alone does not keep the process running
    interruption.addEventListener('abort', () => {
      clearInterval(keepAlive);
      resolve();
    });
  });
}
