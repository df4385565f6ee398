import type { Demand, Plan } from '#odoo/index.js';
import type { Failure } from './failure.js';

const MiB = 1024 ** 2;
/** Of a message that is told; a namespace may have any number of quotas. */
const longest = 2_000;

/**
 * Files are linked, not copied: of what an update writes only its bundles of scripts and styles are large. A set of them
 * is about 10 MB (facts: odoo-in-a-pod §7), and each website and direction of writing has its own.
 */
const bundleBytes = 64 * MiB;

/** A quota of the namespace, for the pods of instances. */
export interface Quota {
  readonly name: string;
  readonly hard: Demand;
  readonly used: Demand;
}

/** What was seen of cluster and shard before anything is done. Only what was really looked at stands here. */
export interface Room {
  readonly volume: { readonly name: string; readonly bytes: number; readonly filesBytes: number };
  readonly shard: {
    readonly name: string;
    readonly databaseBytes: number;
    /** Undefined: nobody has said how large its disk is, and SQL cannot see it. */
    readonly disk: { readonly bytes: number; readonly takenBytes: number } | undefined;
    readonly connections: {
      readonly most: number;
      readonly taken: number;
      readonly ofTenant: number;
      /** Of the role; -1: none. */
      readonly tenantLimit: number;
    };
  };
  readonly quotas: readonly Quota[];
  /** What the pod of the update asks for. */
  readonly update: Demand;
  /** What the instance's own pods count for, which are gone by then. */
  readonly own: Demand;
}

export interface Check {
  readonly check: 'volume' | 'shard-disk' | 'memory' | 'connections';
  readonly verdict: 'fits' | 'lacking' | 'not-checked';
  /** With figures, and with what is to be done where something is lacking. */
  readonly message: string;
}

/** Whether an upgrade of an instance on this plan would find the room that it needs, each kind by itself. */
export function checksOf(room: Room, plan: Plan): readonly Check[] {
  return [volume(room), shardDisk(room), memory(room), connections(room, plan)];
}

const meaning: Readonly<Record<Check['check'], Pick<Failure, 'code' | 'fault'>>> = {
  volume: { code: 'VOLUME_FULL', fault: 'user' },
  'shard-disk': { code: 'SHARD_DISK_FULL', fault: 'platform' },
  memory: { code: 'CELL_FULL', fault: 'platform' },
  connections: { code: 'TOO_FEW_CONNECTIONS', fault: 'platform' },
};

/** Why it is not begun, with all that is lacking; undefined: nothing is. */
export function lackOf(checks: readonly Check[]): Failure | undefined {
  const lacking = checks.filter(({ verdict }) => verdict === 'lacking');
  const [first] = lacking;
  if (!first) return undefined;
  return { ...meaning[first.check], message: shortened(lacking.map(({ message }) => message).join('; ')) };
}

function volume({ volume: { name, bytes, filesBytes } }: Room): Check {
  const figures = `its files are ${mib(filesBytes)}, an update writes up to ${mib(bundleBytes)}, volume ${name} has ${mib(bytes)}`;
  return verdictOf('volume', filesBytes + bundleBytes <= bytes, figures, 'resize it to a larger plan first');
}

function shardDisk({ shard: { name, databaseBytes, disk } }: Room): Check {
  if (!disk) {
    const message = `a copy of its database takes ${mib(databaseBytes)}; how large the disk of shard ${name} is stands in no MESH_SHARD_DISKS`;
    return { check: 'shard-disk', verdict: 'not-checked', message };
  }
  const figures = `a copy of its database takes ${mib(databaseBytes)}, shard ${name} has ${mib(disk.bytes)} for databases, ${mib(disk.takenBytes)} are taken`;
  const fits = disk.takenBytes + databaseBytes <= disk.bytes;
  return verdictOf(
    'shard-disk',
    fits,
    figures,
    'make room there, or give it a larger disk and say so in MESH_SHARD_DISKS',
  );
}

/** Only what quotas say: how much the nodes have left the scheduler alone knows. */
function memory({ quotas, update, own }: Room): Check {
  const asked = quotas.flatMap((quota) =>
    Object.entries(update)
      .filter(([resource]) => quota.hard[resource] !== undefined)
      .map(([resource, wanted]) => {
        const hard = quota.hard[resource]!;
        // Others end too while this is looked at: their quota may be behind.
        const taken = Math.max(0, (quota.used[resource] ?? 0) - (own[resource] ?? 0));
        const show = (amount: number) => (resource.endsWith('memory') ? mib(amount) : String(round(amount)));
        const figures = `the update asks for ${show(wanted)} of ${resource}, quota ${quota.name} has ${show(hard)}, ${show(taken)} are taken without the instance's own pod`;
        return { resource, fits: round(taken + wanted) <= round(hard), figures };
      }),
  );
  const lacking = asked.filter(({ fits }) => !fits);
  const next = 'raise the quota of the cell, or wait until less runs there';
  if (lacking.length > 0) return verdictOf('memory', false, lacking.map(({ figures }) => figures).join(', '), next);
  const ofMemory = asked.filter(({ resource }) => resource.endsWith('memory'));
  if (ofMemory.length > 0) return verdictOf('memory', true, ofMemory.map(({ figures }) => figures).join(', '), next);
  const message = `the update asks for ${mib(update['requests.memory'] ?? 0)}; no quota of its cell limits memory, and the nodes were not looked at`;
  return { check: 'memory', verdict: 'not-checked', message };
}

function connections({ shard: { name, connections: seen } }: Room, plan: Plan): Check {
  // Of an Odoo by itself, without that of the job beside it: its pool, and the LISTENs of cron and bus.
  const wanted = plan.databaseConnections - plan.databasePool;
  const { most, taken, ofTenant, tenantLimit } = seen;
  if (tenantLimit >= 0 && tenantLimit < wanted) {
    const figures = `the update opens up to ${wanted} connections, and its role on shard ${name} may have ${tenantLimit}`;
    return verdictOf('connections', false, figures, `set its CONNECTION LIMIT to ${plan.databaseConnections}`);
  }
  const others = taken - ofTenant;
  const figures = `the update opens up to ${wanted} connections, shard ${name} has ${most}, ${others} are taken by others`;
  const next = 'wait until fewer are connected there, or raise its max_connections';
  return verdictOf('connections', others + wanted <= most, figures, next);
}

function verdictOf(check: Check['check'], fits: boolean, figures: string, next: string): Check {
  if (fits) return { check, verdict: 'fits', message: shortened(figures) };
  return { check, verdict: 'lacking', message: shortened(`${figures}: ${next}`) };
}

function shortened(text: string): string {
  return text.length <= longest ? text : `${text.slice(0, longest - 1)}…`;
}

function mib(bytes: number): string {
  return `${Math.ceil(bytes / MiB)} MiB`;
}

/** Sums of thousandths of a core are not exact. */
function round(amount: number): number {
  return Math.round(amount * 1_000) / 1_000;
}
