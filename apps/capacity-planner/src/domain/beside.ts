import type { FootprintRequested, PayloadOf } from '#contracts/index.js';
import type { Placement } from './placement.js';

export type FootprintWish = PayloadOf<typeof FootprintRequested>;

/**
 * A footprint beside the one that an instance lives in: made to be filled with its data, or left by it when it was
 * switched. It holds a place in a cell and a database of a shard of its own.
 */
export interface Beside {
  readonly footprintId: string;
  /** Whose data it is for, or who lives in it. */
  readonly instanceId: string;
  /** As it was asked for, by which a repeat is known; null: the instance lived in it first, and nobody asked. */
  readonly wish: FootprintWish | null;
  /** What it was placed with; null as `wish` is. */
  readonly plan: { readonly name: string; readonly version: number } | null;
  readonly cell: string;
  readonly databaseShard: string;
  /**
   * `placed` → `lived-in`, when an instance is switched to it or made on it: then its place and its database are that
   * instance's placement's; back to `placed` when the instance is switched away; `gone`: everything was given back.
   */
  readonly state: 'placed' | 'lived-in' | 'gone';
}

/** Whether it can be made: of what has come to its end there are backups for a while, of which another one is made. */
export function mayStandBeside(
  purpose: FootprintWish['purpose'],
  { state, cell }: Pick<Placement, 'state' | 'cell'>,
): boolean {
  return state === 'placed' || (state === 'ended' && cell !== null && purpose === 'clone');
}

/** What may take a customer's last place: what a customer waits for. A proof waits until there is more room. */
export function mayTakeLastPlace(purpose: FootprintWish['purpose']): boolean {
  return purpose !== 'proof';
}

/** Whether an instance can be made of it, with the data of `source`. */
export function mayBecome({ wish, instanceId, state }: Beside, source: string): boolean {
  return state === 'placed' && wish?.purpose === 'clone' && instanceId === source;
}
