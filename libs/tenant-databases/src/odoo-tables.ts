import { TenantDatabaseError } from './errors.js';
import type { Ask } from './reading-session.js';

/** A file of Odoo's filestore that the database names. */
export interface StoredFile {
  /** `ir_attachment.store_fname`: `ab/abcdef…`, below the folder of the database. */
  readonly name: string;
  readonly bytes: number;
  /** SHA-1 in hex, which is also the last part of its name. */
  readonly checksum: string;
  /** Bundles of web assets alone have it: Odoo makes them anew when somebody asks for them. */
  readonly rebuilt: boolean;
}

export interface InstalledModules {
  /** Of the module base, for instance `18.0`. */
  readonly odooVersion: string;
  readonly modules: readonly { readonly name: string; readonly version: string }[];
}

const filesAtOnce = 2_000;
let cursors = 0;

/** Throws BAD_VALUE for a name that no filestore has: it would lead whoever copies files somewhere else. */
export async function* storedFiles(ask: Ask): AsyncGenerator<StoredFile> {
  cursors += 1;
  const cursor = `stored_files_${cursors}`;
  // By `format`, never by a cast: see fingerprint.ts.
  await ask(
    `DECLARE ${cursor} NO SCROLL CURSOR FOR
     SELECT format('%s', store_fname) COLLATE "C" AS name, max(format('%s', file_size)) AS bytes,
       bool_and(starts_with(format('%s', url), '/web/assets/')) AS rebuilt
     FROM ONLY public.ir_attachment WHERE store_fname IS NOT NULL GROUP BY 1 ORDER BY 1`,
  );
  while (true) {
    const { rows } = await ask(`FETCH ${filesAtOnce} FROM ${cursor}`);
    for (const { name, bytes, rebuilt } of rows) yield storedFile(name, bytes, rebuilt);
    if (rows.length < filesAtOnce) break;
  }
  await ask(`CLOSE ${cursor}`);
}

function storedFile(name: string, bytes: string, rebuilt: boolean): StoredFile {
  const checksum = /^[0-9a-f]{2,3}\/([0-9a-f]{40})$/.exec(name)?.[1];
  if (!checksum || !name.startsWith(checksum.slice(0, name.indexOf('/'))))
    throw new TenantDatabaseError(
      'BAD_VALUE',
      `ir_attachment names a file ${JSON.stringify(name.slice(0, 200))}, which is not one of a filestore`,
      false,
    );
  return { name, bytes: Number(bytes || 0), checksum, rebuilt };
}

/** Throws NOT_ODOO. */
export async function installedModules(ask: Ask): Promise<InstalledModules> {
  const { rows } = await ask(
    `SELECT format('%s', name) AS name, format('%s', latest_version) AS version
     FROM ONLY public.ir_module_module WHERE format('%s', state) IN ('installed', 'to upgrade', 'to remove') ORDER BY 1`,
  );
  const base = (rows as { name: string; version: string }[]).find(({ name }) => name === 'base')?.version;
  const odooVersion = /^(\d+\.\d+)\./.exec(base ?? '')?.[1];
  if (!odooVersion)
    throw new TenantDatabaseError('NOT_ODOO', `module base says no version: ${JSON.stringify(base)}`, false);
  return { odooVersion, modules: rows };
}
