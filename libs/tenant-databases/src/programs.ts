import { execFile } from 'node:child_process';
import { access, constants, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { TenantDatabaseError } from './errors.js';

/** PostgreSQL's own programs, both of one version. */
export interface PostgresPrograms {
  readonly pgDump: string;
  readonly pgRestore: string;
  /** For instance 15. */
  readonly major: number;
  /** As pg_dump says it: `15.18`. */
  readonly version: string;
}

/** Where Debian keeps each version's own; /usr/bin has a script there that chooses one by rules of its own. */
const debian = '/usr/lib/postgresql';

/**
 * The programs in the folder, or the newest on this machine. Throws TOOL_MISSING where there are none.
 * @param folder such as /usr/lib/postgresql/15/bin.
 */
export async function findPostgresPrograms(folder?: string): Promise<PostgresPrograms> {
  const folders = folder === undefined ? [...(await debianFolders()), '/usr/local/bin', '/usr/bin'] : [folder];
  for (const one of folders) {
    const [pgDump, pgRestore] = [join(one, 'pg_dump'), join(one, 'pg_restore')];
    if (!((await isExecutable(pgDump)) && (await isExecutable(pgRestore)))) continue;
    const [dumps, restores] = await Promise.all([versionOf(pgDump), versionOf(pgRestore)]);
    if (dumps !== restores)
      throw new TenantDatabaseError('TOOL_MISSING', `in ${one} pg_dump is ${dumps} and pg_restore ${restores}`, false);
    return { pgDump, pgRestore, major: Number.parseInt(dumps, 10), version: dumps };
  }
  throw new TenantDatabaseError('TOOL_MISSING', `pg_dump and pg_restore are in none of ${folders.join(', ')}`, false);
}

/** An older pg_dump refuses a newer server; an older pg_restore cannot be trusted with it. Throws TOOL_TOO_OLD. */
export function expectPrograms(programs: PostgresPrograms, serverMajor: number): void {
  if (programs.major < serverMajor)
    throw new TenantDatabaseError(
      'TOOL_TOO_OLD',
      `pg_dump and pg_restore are of version ${programs.version}, the server of ${serverMajor}`,
      false,
    );
}

async function debianFolders(): Promise<string[]> {
  const versions = await readdir(debian).catch(() => []);
  return versions
    .filter((version) => /^\d+$/.test(version))
    .sort((a, b) => Number(b) - Number(a))
    .map((version) => join(debian, version, 'bin'));
}

async function versionOf(program: string): Promise<string> {
  const { stdout } = await promisify(execFile)(program, ['--version'], { env: {} });
  const version = /\(PostgreSQL\) (\d+[^ \n]*)/.exec(stdout)?.[1];
  if (!version) throw new TenantDatabaseError('TOOL_MISSING', `${program} does not say its version`, false);
  return version;
}

const isExecutable = (path: string) =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
