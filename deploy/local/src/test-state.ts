import { readdirSync, rmSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { LocalConfig } from './config.js';
import { startTimeOf } from './processes.js';
import { Stack } from './stack.js';
import { State } from './state.js';

const parent = '/var/tmp';
const prefix = `odoo-mesh-test-${userInfo().uid}-`;

/**
 * A state folder of this process' own, so that two test runs and a running `npm run up` do not meet. It bears our pid,
 * by which `sweepTestStates` knows when nobody wants it any more.
 */
export function newTestState(): State {
  return new State(join(parent, `${prefix}${process.pid}`));
}

/** Ends what runs in a test's folder and deletes it. */
export async function removeTestState(config: LocalConfig, state: State): Promise<void> {
  await new Stack(config, state).stop({ wipe: true });
  rmSync(state.folder, { recursive: true, force: true });
}

/** Removes the state folders of test processes that were killed, telling `onFound` each. */
export async function sweepTestStates(config: LocalConfig, onFound: (folder: string) => void): Promise<void> {
  for (const name of readdirSync(parent).filter((entry) => entry.startsWith(prefix))) {
    if (startTimeOf(Number(name.slice(prefix.length))) !== undefined) continue;
    const state = new State(join(parent, name));
    onFound(state.folder);
    await removeTestState(config, state);
  }
}
