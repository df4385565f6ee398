import type { EdgeAddress } from './edge-manifests.js';

/** A namespace for at most `places` instances, and what holds in it. */
export interface CellSpec {
  readonly meshName: string;
  readonly cell: string;
  readonly namespace: string;
  readonly places: number;
  /** The accounts of services that work in every cell: each gets the footprint role here. */
  readonly footprintWriters: readonly { readonly serviceAccount: string; readonly namespace: string }[];
  /** The accounts of services that run Jobs here, beside that. */
  readonly jobRunners?: CellSpec['footprintWriters'];
  /** The accounts of services that copy volumes here, and work on the copies. */
  readonly backupRunners?: CellSpec['footprintWriters'];
  /** Where the edge router lives; only it may reach an Odoo. */
  readonly ingressNamespace: string;
  /** The cluster's own networks (IPv4 CIDRs): an Odoo reaches the internet, but nothing in here beside what is named. */
  readonly clusterNetworks: readonly string[];
  /** Where the database shards answer. */
  readonly databases: readonly { readonly cidr: string; readonly port: number }[];
  /** Where the mesh's edge answers, for whatever is no Odoo just now; absent: nobody does, and the router says 503. */
  readonly edge?: EdgeAddress | undefined;
  /** Mail relays inside the cluster's networks; TCP 25, 465, 587. */
  readonly mailNetworks?: readonly string[];
  /** Where the object store of backups answers; absent: outside of the cluster, on port 443. */
  readonly objectStores?: readonly { readonly cidr: string; readonly port: number }[];
}
