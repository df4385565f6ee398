import type { PayloadOf, TemplatePublished } from '#contracts/index.js';
import type { Transaction } from '#persistence/index.js';
import type { Beside } from '../domain/beside.js';
import type { HeldName } from '../domain/host-name.js';
import type { Cell, Placement } from '../domain/placement.js';
import type { Spare, SpareWish } from '../domain/spares.js';
import type { Template } from '../domain/template-choice.js';

/** Everything the planner holds: all of it in one database, so that a request is decided in one transaction. */
export abstract class Placements {
  /** Nobody else decides about this instance until the transaction ends. */
  abstract lock(tx: Transaction, instanceId: string): Promise<Placement | undefined>;
  /** For who has nothing to decide about it. */
  abstract get(tx: Transaction, instanceId: string): Promise<Placement | undefined>;
  /** Whether it is the footprint of an instance that has not ended. */
  abstract isLivedIn(tx: Transaction, footprintId: string): Promise<boolean>;
  abstract save(tx: Transaction, placement: Placement): Promise<void>;
  /** The request was refused after all. */
  abstract remove(tx: Transaction, instanceId: string): Promise<void>;
  /** Those without a place, longest waiting first. */
  abstract waiting(limit: number): Promise<Placement[]>;
}

export abstract class HostNames {
  /** All names of the instance, those that rest after it too; what it took last comes first. */
  abstract of(tx: Transaction, instanceId: string): Promise<HeldName[]>;
  /** False: another instance has it, or it rests after one. */
  abstract take(tx: Transaction, host: string, instanceId: string): Promise<boolean>;
  /**
   * All of them, by this request, or none. @returns one that another instance has, or that rests after one; undefined: they
   * are this instance's.
   */
  abstract takeAll(
    tx: Transaction,
    names: readonly Pick<HeldName, 'host' | 'custom'>[],
    instanceId: string,
    reservation: string,
  ): Promise<string | undefined>;
  abstract rest(tx: Transaction, host: string, instanceId: string, days: number): Promise<void>;
  /** Anybody may have it at once: it was never used, or is a domain of the customer's. */
  abstract release(tx: Transaction, host: string, instanceId: string): Promise<void>;
}

export abstract class Cells {
  abstract all(tx: Transaction): Promise<Cell[]>;
  abstract get(id: string): Promise<Cell | undefined>;
  /** Does nothing when there is one of this id already. */
  abstract add(tx: Transaction, cell: Cell): Promise<void>;
  abstract open(tx: Transaction, id: string): Promise<void>;
  /** The emptiest open cell loses a place; undefined: all are full. */
  abstract reservePlace(tx: Transaction): Promise<Cell | undefined>;
  /** The same of this cell, where it has one; `last`: a cell's last place too. */
  abstract reservePlaceNear(tx: Transaction, id: string, last: boolean): Promise<Cell | undefined>;
  /** The same of this cell alone, for a spare: never its last place. False: none that a spare may have. */
  abstract reserveSparePlace(tx: Transaction, id: string): Promise<boolean>;
  abstract givePlaceBack(tx: Transaction, id: string): Promise<void>;
}

export abstract class DatabaseShards {
  abstract all(tx: Transaction): Promise<{ name: string }[]>;
  /** The emptiest of `names` loses a place for a database; undefined: all are full. */
  abstract reserveDatabase(tx: Transaction, names: readonly string[]): Promise<string | undefined>;
  abstract giveDatabaseBack(tx: Transaction, name: string): Promise<void>;
}

/** Running footprints that are nobody's yet. */
export abstract class Spares {
  /** Neither claimed nor on their way out; those that are not ready first. */
  abstract free(tx: Transaction): Promise<Spare[]>;
  /** Those that were asked for, or whose removal was, longer ago. */
  abstract overdue(tx: Transaction, state: 'asked' | 'retiring', ageMs: number): Promise<Spare[]>;
  abstract add(tx: Transaction, spare: Spare): Promise<void>;
  abstract noteReady(tx: Transaction, footprintId: string): Promise<void>;
  /** One that is ready, on a template as it is now, for this instance and for ever. Nobody waits for anybody. */
  abstract claim(
    tx: Transaction,
    instanceId: string,
    wanted: {
      readonly plan: { readonly name: string; readonly version: number };
      readonly templates: readonly Template[];
    },
  ): Promise<Spare | undefined>;
  /** False: somebody has claimed it, or it is on its way out already. */
  abstract retire(tx: Transaction, footprintId: string): Promise<boolean>;
  abstract isRetiring(tx: Transaction, footprintId: string): Promise<boolean>;
  abstract noteAsked(tx: Transaction, footprintId: string): Promise<void>;
  /** Undefined: there is none, or it is an instance's. */
  abstract remove(tx: Transaction, footprintId: string): Promise<Spare | undefined>;
}

/** Footprints beside those that instances live in. */
export abstract class Besides {
  /** Nobody else decides about this footprint until the transaction ends. */
  abstract lock(tx: Transaction, footprintId: string): Promise<Beside | undefined>;
  /** Whether it is a spare's, or an instance lives in it. */
  abstract isTaken(tx: Transaction, footprintId: string): Promise<boolean>;
  abstract save(tx: Transaction, beside: Beside): Promise<void>;
  /** Those whose time to be remembered is over. */
  abstract forgetGone(tx: Transaction): Promise<void>;
}

/** Ages in seconds. */
export interface RoomFigures {
  readonly cells: readonly Pick<Cell, 'id' | 'state' | 'places' | 'reserved'>[];
  readonly shards: readonly { readonly name: string; readonly databases: number; readonly reserved: number }[];
  /** Those that nobody has claimed. */
  readonly spares: readonly { readonly state: Spare['state']; readonly count: number }[];
  readonly waiting: number;
  readonly oldestWaiting: number;
}

export abstract class Room {
  abstract figures(): Promise<RoomFigures>;
}

export abstract class Templates {
  abstract all(tx: Transaction): Promise<Template[]>;
  /** Whether all templates were heard of that there are: before, nobody can say that one does not exist. */
  abstract complete(tx: Transaction): Promise<boolean>;
  /** @param toldAt when it was said how many there are; the newest word counts. */
  abstract add(tx: Transaction, template: PayloadOf<typeof TemplatePublished>, toldAt: string): Promise<void>;
}

export abstract class Cluster {
  /**
   * Namespace, policies, quota and rights of the cell, as libs/odoo describes them. Safe to repeat. `fence` throws when
   * the lease is lost, and is looked at before each request.
   */
  abstract applyCell(cell: Cell, fence: () => void): Promise<void>;
}

/** What the operator decided; see config.ts. */
export abstract class PlannerSettings {
  abstract readonly meshName: string;
  /** Instances are `<slug>.<domain>`. */
  abstract readonly domain: string;
  abstract readonly placesPerCell: number;
  abstract readonly maxCells: number;
  /** Where the edge router lives. */
  abstract readonly ingressNamespace: string;
  /** Where the edge answers, for hosts whose Odoo does not run. */
  abstract readonly edge: { readonly address: string; readonly port: number } | undefined;
  /** CIDRs of the cluster: out of bounds for an Odoo. */
  abstract readonly clusterNetworks: readonly string[];
  /** CIDRs of the database shards. */
  abstract readonly databases: readonly { readonly cidr: string; readonly port: number }[];
  /** Where the object store of backups answers; none: outside of the cluster. */
  abstract readonly objectStores: readonly { readonly cidr: string; readonly port: number }[];
  abstract readonly shards: readonly { readonly name: string; readonly databases: number }[];
  abstract readonly spares: readonly SpareWish[];
}
