import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { State } from './state.js';

/** Who asked for the stack: what `up` started `up` also stops; what `stack` started stays until `down`. */
export type Owner = 'stack' | 'up';

export function setOwner(state: State, owner: Owner): void {
  writeFileSync(state.path('owner'), owner);
}

/** Who owns what runs now; undefined when nothing runs. */
export function ownerOf(state: State): Owner | undefined {
  const { processes } = state;
  if (!existsSync(state.path('owner')) || !processes.names().some((name) => processes.alive(name))) return undefined;
  return readFileSync(state.path('owner'), 'utf8') === 'up' ? 'up' : 'stack';
}

/** Held by `npm run up` as long as it runs. */
export function upLock(state: State): string {
  return state.path('up.lock');
}
