import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTimeOf } from './processes.js';

export interface LockHolder {
  readonly pid: number;
  readonly startTime: string;
  /** What the holder is doing, for the message of whoever has to wait. */
  readonly purpose: string;
}

/** Who holds the lock. Undefined: nobody, or a process that is gone and so holds nothing. */
export function lockHolder(file: string): LockHolder | undefined {
  try {
    const holder: LockHolder = JSON.parse(readFileSync(file, 'utf8'));
    return startTimeOf(holder.pid) === holder.startTime ? holder : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Takes the lock for this process. Returns what gives it back, or the holder when somebody else lives and has it.
 * The lock of a process that was killed is taken over.
 */
export function tryLock(file: string, purpose: string): (() => void) | LockHolder {
  mkdirSync(dirname(file), { recursive: true });
  const mine = `${file}.${process.pid}`;
  const self: LockHolder = { pid: process.pid, startTime: startTimeOf(process.pid) ?? '', purpose };
  writeFileSync(mine, JSON.stringify(self), { mode: 0o600 });
  try {
    for (let attempt = 0; attempt < 5; attempt++) {
      try {
        linkSync(mine, file); // atomic, and the file has its content from its first moment
        return () => rmSync(file, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const holder = lockHolder(file);
      if (holder) return holder;
      moveAside(file);
    }
    throw new Error(`cannot take the lock ${file}: it changes hands all the time`);
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Waits for the lock, telling `onWait` once whom for. */
export async function lock(file: string, purpose: string, onWait: (holder: LockHolder) => void): Promise<() => void> {
  for (let waited = false; ; waited = true) {
    const result = tryLock(file, purpose);
    if (typeof result === 'function') return result;
    if (!waited) onWait(result);
    await sleep(300);
  }
}

/** Removes a dead holder's lock; puts it back when a living process took it over in between. */
function moveAside(file: string): void {
  const aside = `${file}.stale-${process.pid}`;
  try {
    renameSync(file, aside);
    if (lockHolder(aside)) linkSync(aside, file);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code !== 'ENOENT' && code !== 'EEXIST') throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}
