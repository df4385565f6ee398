import { quoteName } from './identifiers.js';
import type { Ask } from './reading-session.js';

/**
 * What is in the tables of a database, so that two of them can be compared: of each the number of rows, and a checksum of
 * their values in any order. Equal after a restore. Without the sequences: those move outside of every snapshot.
 */
export interface Fingerprint {
  /** By name; outside of schema `public` with the schema before it. */
  readonly tables: Readonly<Record<string, readonly [rows: number, checksum: string]>>;
  /** Of all tables. */
  readonly rows: number;
}

/** PostgreSQL's own, whose hash says all of a value; with them a row needs not be written out, which costs three times as much. */
const plainTypes = [
  ...['smallint', 'integer', 'bigint', 'boolean', 'text', 'varchar', 'bpchar', 'numeric', 'real', 'double precision'],
  ...['date', 'timestamp', 'timestamptz', 'jsonb', 'bytea', 'uuid'],
];

/** The locks of one statement are kept until its end, also on every index, and a server has room for some thousands. */
const tablesAtOnce = 100;

export async function takeFingerprint(ask: Ask): Promise<Fingerprint> {
  const { rows: found } = await ask(
    `SELECT n.nspname AS schema, c.relname AS name, pg_relation_size(c.oid) = 0 AS empty,
       NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         AND a.atttypid <> ALL ($1::regtype[])) AS plain
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1, 2`,
    [plainTypes],
  );
  // Most of an Odoo's, and each that has to be opened costs more than its rows. What has no page shows nobody a row.
  const [empty, others] = [found.filter((table) => table.empty), found.filter((table) => !table.empty)];
  const tables: Record<string, readonly [number, string]> = {};
  for (const table of empty) tables[nameOf(table)] = [0, '0'];
  let rows = 0;
  for (let at = 0; at < others.length; at += tablesAtOnce) {
    const some = others.slice(at, at + tablesAtOnce);
    const counted = await countAll(ask, some);
    for (const [index, table] of some.entries()) {
      const { n, checksum } = counted[index]!;
      tables[nameOf(table)] = [Number(n), checksum];
      rows += Number(n);
    }
  }
  return { tables, rows };
}

const nameOf = ({ schema, name }: Table) => (schema === 'public' ? name : `${schema}.${name}`);

interface Table {
  readonly schema: string;
  readonly name: string;
  readonly plain: boolean;
}

/**
 * `format` writes a row as the types of its columns do. A cast would take one that the tenant has made for its table, and
 * run it as whoever reads. A sum is the same in any order, and counts equal rows.
 */
async function countAll(ask: Ask, tables: Table[]) {
  const hashOf = ({ plain }: Table) =>
    plain ? 'hash_record_extended(t, 0)' : `hashtextextended(format('%s', t) COLLATE "C", 0)`;
  const each = tables.map(
    (table, index) =>
      `SELECT ${index} AS at, count(*) AS n, coalesce(sum(${hashOf(table)}), 0) AS checksum
       FROM ONLY ${quoteName(table.schema)}.${quoteName(table.name)} t`,
  );
  await ask('SAVEPOINT fingerprint');
  const { rows } = await ask(each.join(' UNION ALL '));
  // Gives the locks back.
  await ask('ROLLBACK TO SAVEPOINT fingerprint');
  return (rows as { at: number; n: string; checksum: string }[]).sort((a, b) => a.at - b.at);
}

/** What `found` has that `wanted` has not, and the reverse, in words; nothing: they are equal. */
export function differencesOf(wanted: Fingerprint, found: Fingerprint): string[] {
  const names = new Set([...Object.keys(wanted.tables), ...Object.keys(found.tables)]);
  return [...names].sort().flatMap((name) => {
    const [before, after] = [wanted.tables[name], found.tables[name]];
    if (!after) return [`table ${name} is missing`];
    if (!before) return [`table ${name} is one too many`];
    if (before[0] !== after[0]) return [`table ${name} has ${after[0]} rows in place of ${before[0]}`];
    return before[1] === after[1] ? [] : [`table ${name} has other values in its ${after[0]} rows`];
  });
}
