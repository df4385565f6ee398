import { createHash } from 'node:crypto';

/** Names of what one footprint consists of. Neutral, because tenants of a shard can list them; never used again. */
export interface FootprintNames {
  /** Of every object in the namespace: a DNS label. */
  readonly object: string;
  readonly secret: string;
  /** Database, role and the folder below `filestore/`: Odoo wants one name for database and folder. */
  readonly database: string;
  readonly role: string;
}

/**
 * @param footprintId a UUID; an id has one set of names for ever.
 * @param secretVersion a Secret is immutable: a change is the next version under its own name.
 * Throws when the mesh's name or the id cannot make names that Kubernetes and PostgreSQL (63 bytes) take.
 */
export function footprintNames(meshName: string, footprintId: string, secretVersion = 1): FootprintNames {
  const id = /^([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/.exec(footprintId.toLowerCase());
  if (!id) throw new Error(`a footprint's id is a UUID, not ${JSON.stringify(footprintId)}`);
  if (!Number.isSafeInteger(secretVersion) || secretVersion < 1)
    throw new Error(`a Secret's version counts from 1, not ${secretVersion}`);
  const object = `o${id.slice(1).join('')}`;
  const database = `${checkedMeshName(meshName).replaceAll('-', '_')}_${object}`;
  return { object, secret: `${object}-v${secretVersion}`, database, role: database };
}

/** Whether it is a footprint's own database, or the name of a numbered copy of that, as an upgrade makes: `<own>_<n>`. */
export function isDatabaseOf(own: string, database: string): boolean {
  return database.startsWith(own) && /^(_[1-9][0-9]{0,8})?$/.test(database.slice(own.length));
}

/** Whether it is a Secret of the footprint, in whatever version. */
export function isSecretOf({ object }: Pick<FootprintNames, 'object'>, secret: string): boolean {
  return secret.startsWith(`${object}-v`) && /^[1-9][0-9]{0,8}$/.test(secret.slice(`${object}-v`.length));
}

/** Everything global begins with it: a DNS label, short enough for a database's name to begin with it. Throws. */
export function checkedMeshName(meshName: string): string {
  if (!/^[a-z](?:[a-z0-9-]{0,27}[a-z0-9])?$/.test(meshName))
    throw new Error(
      `a mesh's name is at most 29 of a-z, 0-9 and hyphens, a letter first, no hyphen last, not ${JSON.stringify(meshName)}`,
    );
  return meshName;
}

export const labelNames = {
  footprint: 'mesh.odoo/footprint',
  cell: 'mesh.odoo/cell',
  instance: 'instance-id',
  customer: 'customer-id',
  /** The id of the backup, proof or restore that the object is there for. */
  backup: 'mesh.odoo/backup',
} as const;

export const epochAnnotation = 'mesh.odoo/epoch';
/** The customer's id as it is, where a label could not hold it. */
export const customerAnnotation = 'mesh.odoo/customer-id';

/** On everything of a mesh. */
export function meshLabels(meshName: string): Record<string, string> {
  return { 'app.kubernetes.io/managed-by': 'odoo-mesh', 'app.kubernetes.io/part-of': checkedMeshName(meshName) };
}

/**
 * A label value holds 63 of a-z, A-Z, 0-9, `-`, `_` and `.`, a letter or digit at its ends. A text that does not fit is
 * represented by its hash: equal texts stay equal, different ones different (so a text that looks like such a hash is
 * hashed too), and nothing can break out.
 */
export function labelValue(text: string): string {
  if (/^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(text) && !/^h[0-9a-f]{40}$/.test(text)) return text;
  return `h${createHash('sha256').update(text, 'utf16le').digest('hex').slice(0, 40)}`;
}
