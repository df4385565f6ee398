import type { V1Deployment, V1Job, V1PersistentVolumeClaim } from '@kubernetes/client-node';
import { type KubernetesClient, type KubernetesObject, Reflector } from '#kubernetes/index.js';
import { labelNames, type VolumeSnapshot } from '#odoo/index.js';
import { volumeState, workloadState } from './observed.js';

/** What is kept of a watched object. */
interface Watched {
  readonly labels: Readonly<Record<string, string>>;
  /** What a reconciler may wait for; empty: nothing yet. The many other changes of an object wake nobody. */
  readonly waitedFor: string;
}

const waitedFor = {
  Deployment(object: KubernetesObject) {
    const state = workloadState(object as V1Deployment & KubernetesObject);
    if (typeof state === 'string') return state;
    return state.ready ? 'ready' : (state.refusal?.message ?? '');
  },
  PersistentVolumeClaim(object: KubernetesObject) {
    const state = volumeState(object as V1PersistentVolumeClaim & KubernetesObject);
    return state === 'pending' ? '' : state;
  },
  /** Only that it is gone. */
  Pod: () => '',
  /** That it has succeeded, that one of its pods has not, or that it is given up. */
  Job(object: KubernetesObject) {
    const { succeeded, failed, conditions = [] } = (object as V1Job & KubernetesObject).status ?? {};
    if (conditions.some(({ type, status }) => type === 'Failed' && status === 'True')) return 'given up';
    return succeeded || failed ? 'ended' : '';
  },
  VolumeSnapshot(object: KubernetesObject) {
    const { readyToUse, error } = (object as VolumeSnapshot).status ?? {};
    return readyToUse ? 'ready' : (error?.message ?? '');
  },
} as const;

/** Tells when something was seen in a cell that may be what somebody waits for. Nothing more: who is told looks himself. */
export class FootprintWatch {
  private readonly watched = new Map<string, Reflector<Watched>[]>();

  constructor(
    private readonly client: KubernetesClient,
    private readonly options: {
      readonly kinds: readonly (keyof typeof waitedFor)[];
      /** Only objects with this label; without it all that are a footprint's. */
      readonly label?: string;
      /** The labels of the object. */
      readonly onChange: (labels: Readonly<Record<string, string>>) => void;
      readonly onTrouble: (what: string, error: unknown) => void;
    },
  ) {}

  /** Safe to repeat. */
  watch(namespace: string): void {
    if (this.watched.has(namespace)) return;
    const { kinds, label = labelNames.footprint, onChange, onTrouble } = this.options;
    const reflectors = kinds.map(
      (kind) =>
        new Reflector<Watched>(this.client, {
          kind,
          namespace,
          labelSelector: label,
          strip: (object) => ({ labels: object.metadata?.labels ?? {}, waitedFor: waitedFor[kind](object) }),
          onChange: (_, now, before) => {
            const comesTo = now ? now.waitedFor : 'gone';
            // That something is no longer so, nobody waits for.
            if (comesTo !== '' && comesTo !== (before?.waitedFor ?? '')) onChange((now ?? before)!.labels);
          },
          onTrouble,
        }),
    );
    this.watched.set(namespace, reflectors);
    for (const reflector of reflectors) reflector.start();
  }

  stop(): void {
    for (const reflector of [...this.watched.values()].flat()) reflector.stop();
  }
}
