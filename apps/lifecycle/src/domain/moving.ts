import type { InstanceState } from '#contracts/index.js';
import type { Instance } from './instance.js';
import type { Operation } from './operation.js';
import { nextState, type Trigger } from './state-table.js';

/** In the state that the table says; an instance for which it says none stays as it is. */
export function moved(instance: Instance, on: Trigger, reason: string): Instance {
  const to = nextState(instance, on);
  return to === undefined ? instance : inState(instance, to, wordFor(instance, to, reason));
}

function inState(instance: Instance, to: InstanceState, reason: string): Instance {
  if (to === instance.state) return { ...instance, reason };
  return { ...instance, state: to, previous: instance.state, reason, since: new Date() };
}

/** Who is suspended is so for the reason of the suspension, whatever brought it back there. */
function wordFor({ suspension }: Instance, to: InstanceState, reason: string): string {
  return to === 'suspended' && suspension ? suspension.why : reason;
}

/** What is so after one that failed was taken back. */
export function withoutWhatFailed(instance: Instance, { kind, progress }: Operation): Instance {
  const { before, fellThrough } = progress;
  const restored = before ? { ...instance, live: takenBack(instance, before) } : instance;
  const reason = `${kind}-failed`;
  const standsStill = (one: Instance): Instance => ({ ...moved(one, 'not running', reason), ownerWants: 'stopped' });
  switch (kind) {
    case 'start':
    case 'restart':
      return standsStill(restored);
    case 'resume':
      return standsStill({ ...restored, suspension: null });
    case 'release':
      if (!before || fellThrough) return standsStill({ ...restored, quiesce: null });
      return { ...moved(restored, 'release', reason), quiesce: null };
    case 'cancel-termination':
      return standsStill({ ...restored, termination: null });
    case 'resize':
    case 'rename':
      return fellThrough ? standsStill(restored) : restored;
    case 'upgrade':
      if (!progress.down) return restored;
      return fellThrough ? standsStill(restored) : moved(restored, 'release', reason);
    case 'quiesce':
    case 'switch-back':
      return fellThrough ? standsStill(restored) : moved(restored, 'release', reason);
    case 'terminate': {
      const kept = { ...restored, termination: null };
      return fellThrough ? standsStill(kept) : moved(kept, 'cancel-termination', reason);
    }
    case 'stop':
    case 'suspend':
      return { ...restored, reason };
  }
}

/**
 * As it was, but for what cannot be taken back: a volume stays as large as it is, and a version is never made twice. What
 * was tried in another footprint has changed nothing of this one.
 */
export function takenBack({ live }: Instance, before: Instance['live']): Instance['live'] {
  if (live.footprintId !== before.footprintId) return before;
  const { storageBytes, lastSecretVersion, copies } = live;
  return { ...before, storageBytes, lastSecretVersion, copies };
}
