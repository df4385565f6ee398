import type { Entry } from '#odoo/index.js';
import type { Transaction } from '#persistence/index.js';
import type { Footprint } from '../domain/footprint.js';
import type { Observed } from '../domain/next-action.js';
import type { Remains } from '../domain/next-removal.js';
import type { Word } from '../domain/residence.js';

/** What the provisioner keeps of each footprint. */
export abstract class Footprints {
  abstract get(footprintId: string): Promise<Footprint | undefined>;
  /** The row stays locked until the transaction ends. */
  abstract lock(tx: Transaction, footprintId: string): Promise<Footprint | undefined>;
  /** The newest one of the instance, locked. */
  abstract lockOfInstance(tx: Transaction, instanceId: string): Promise<Footprint | undefined>;
  abstract save(tx: Transaction, footprint: Footprint): Promise<void>;
  /** Whether something is left of another footprint of the instance. */
  abstract hasOthers(instanceId: string, footprintId: string): Promise<boolean>;
  /** Whether this word changes nothing: the instance lives there, with this Secret, and in no other. */
  abstract isKnown(tx: Transaction, word: Word): Promise<boolean>;
  /** Those of the instance beside this one, locked. */
  abstract lockOthers(tx: Transaction, instanceId: string, footprintId: string): Promise<Footprint[]>;
}

export type OnCluster = Pick<Observed, 'secret' | 'volumeClaim' | 'deployment' | 'routed'>;
export type OnShard = Pick<Observed, 'role' | 'database'>;

/**
 * Throws when the lease is lost; looked at before each request that changes something, however long that had to wait.
 * Whoever was frozen in the middle changes nothing when it wakes up after somebody else has taken over.
 */
export type Fence = () => void;

/** The footprint's objects. Everything throws when the cluster cannot be read: "could not look" is never "absent"; an Obstacle (libs/footprints) where it is known why. */
export abstract class Cluster {
  /** Changes in this namespace hurry the footprint they belong to. Safe to repeat. */
  abstract watch(namespace: string): void;
  abstract observe(footprint: Footprint): Promise<OnCluster>;
  /** Made once: when there is one already, it stays as it is. */
  abstract createSecret(footprint: Footprint, fence: Fence): Promise<void>;
  /** The database password in the footprint's Secret. */
  abstract passwordOf(footprint: Footprint): Promise<string>;
  abstract applyVolume(footprint: Footprint, fence: Fence): Promise<void>;
  abstract applyWorkload(footprint: Footprint, fence: Fence): Promise<void>;
  /** Looks also for the Secrets that lifecycle may have made. */
  abstract remains(footprint: Footprint): Promise<Remains['cluster']>;
  /** Takes the workload down; the pod ends in its own time. */
  abstract removeWorkload(footprint: Footprint, fence: Fence): Promise<void>;
  /** The claim, its volume (whose class says Retain) and the Secrets. */
  abstract removeVolume(footprint: Footprint, fence: Fence): Promise<void>;
}

/** The footprint's role and database on its shard. Throws when the shard cannot be reached; an Obstacle where it is known why. */
export abstract class TenantShards {
  abstract observe(footprint: Footprint): Promise<OnShard>;
  abstract ensureRole(footprint: Footprint, password: string, fence: Fence): Promise<void>;
  abstract copyTemplate(footprint: Footprint, fence: Fence): Promise<void>;
  /** One with nothing in it, which the tenant cannot enter. */
  abstract makeEmpty(footprint: Footprint, fence: Fence): Promise<void>;
  abstract personalise(footprint: Footprint, fence: Fence): Promise<void>;
  /**
   * Its address, and nothing else: what it holds came from a backup, with its names and passwords. Written by a customer,
   * too, so that it is only entered as its own role, whose password this is.
   */
  abstract giveAddress(footprint: Footprint, password: string, fence: Fence): Promise<void>;
  /** The identity Odoo goes by. */
  abstract uuidOf(footprint: Footprint): Promise<string>;
  /** The same of what came from a backup. */
  abstract uuidOfFilled(footprint: Footprint, password: string): Promise<string>;
  abstract remains(footprint: Footprint): Promise<Remains['shard']>;
  /** All databases of the footprint, and its role. Nothing is removed where an approval names what is not the footprint's. */
  abstract remove(footprint: Footprint, fence: Fence): Promise<void>;
  /** What instances can be made of, on all shards. */
  abstract templates(): Promise<readonly { readonly databaseShard: string; readonly template: Template }[]>;
  /** Where an Odoo reaches its database. */
  abstract addressOf(footprint: Footprint): { readonly host: string; readonly port: number };
}

export interface Template {
  readonly database: string;
  readonly image: string;
  readonly version: string;
  readonly bundle: string;
  readonly language: string;
  readonly madeAt: string;
}

/** The instance as its customer finds it. */
export abstract class Site {
  /**
   * Asks for the log-in page through the router, at the instance's host, again and again for at most two seconds.
   * `simulated`: there is no router that could answer.
   */
  abstract ask(footprint: Footprint, signal: AbortSignal): Promise<Exclude<Observed['site'], 'unasked'>>;
}

/** What the operator decided; see config.ts. */
export abstract class ProvisionerSettings {
  abstract readonly meshName: string;
  abstract readonly storageClass: string;
  /** How browsers reach instances. */
  abstract readonly entry: Entry;
  /** The address a customer gets. */
  abstract urlOf(host: string): string;
  /** `http[s]://host:port` of the router of all hosts; without one, Ready is believed of the pod's condition. */
  abstract readonly routerUrl: string | undefined;
  /** A file with authorities, in PEM, that its certificate may be of beside those that everybody knows. */
  abstract readonly routerAuthorities: string | undefined;
  /** A making that was looked at for so long, and is not Ready, is given up. In ms. */
  abstract readonly deadlineMs: number;
  /** Database shards with the mesh role's address on each. */
  abstract readonly shards: readonly { readonly name: string; readonly url: string }[];
}

export abstract class PublishedTemplates {
  /** False: this very template was told of before. */
  abstract note(tx: Transaction, databaseShard: string, template: Template): Promise<boolean>;
}
