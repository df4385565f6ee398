import { createHash } from 'node:crypto';
import { type Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Client } from 'pg';
import { thatEndsWhenSilentFor } from '#persistence/index.js';
import { dropDatabase } from './copies.js';
import { closeToAll, createEmpty } from './empty-database.js';
import { TenantDatabaseError } from './errors.js';
import { dropFiller, fillerOf, fillerState, newFiller } from './filler.js';
import {
  databaseState,
  findIn,
  foreign,
  inUse,
  isBeingFilled,
  isFinished,
  isJustBegun,
  roleState,
  type Tenant,
} from './found.js';
import { checkTenantName, quoteName } from './identifiers.js';
import type { PostgresPrograms } from './programs.js';
import { libpqEnvironment, runProgram } from './run-program.js';
import type { Fence, Session, Shard } from './shard.js';
import { giveEverythingTo, markDatabase } from './tenant.js';

/** The longest restore, in ms, unless somebody says another. */
const longestRestoreMs = 12 * 3_600_000;

export interface RestoreOptions {
  readonly programs: PostgresPrograms;
  readonly signal: AbortSignal;
  /** Of the whole dump, in hex. One with another is restored to its end, and counts as not restored: DUMP_CHANGED. */
  readonly sha256?: string;
  readonly longestMs?: number;
}

/**
 * Fills the database that `makeEmptyDatabase` has made for this footprint. Always begins with an empty one, so that a
 * restore that was killed anywhere is begun again; a database that was ever opened to its tenant is never touched
 * (DATABASE_IN_USE). It runs as a role that may do nothing outside of this database. The fence is asked with each piece
 * of the dump. Errors: FOREIGN_OBJECT, TENANT_MISSING, DUMP_UNREADABLE, DUMP_CHANGED, RESTORE_FAILED (try again), whatever
 * breaks `content`, the signal's reason.
 */
export async function restoreTenantDatabase(
  shard: Shard,
  tenant: Tenant,
  content: Readable,
  fence: Fence,
  { programs, signal, sha256, longestMs = longestRestoreMs }: RestoreOptions,
): Promise<void> {
  checkTenantName(tenant.name);
  try {
    await shard.exclusively(
      tenant.name,
      async (session) => {
        const password = await emptyAgain(session, shard, tenant, fence);
        const url = shard.urlOf(tenant.name, fillerOf(tenant), password);
        const sum = await fill(url, tenant.name, content, fence, programs, signal);
        if (sha256 !== undefined && sum !== sha256)
          throw new TenantDatabaseError('DUMP_CHANGED', `the dump’s SHA-256 is ${sum} in place of ${sha256}`, false);
        // Without statistics the first requests would be slow.
        await asFiller(url, longestMs, signal, (client) => client.query('ANALYZE'));
        await markDatabase(session, shard, tenant, 'filled');
      },
      fence,
      longestMs,
    );
  } finally {
    content.destroy();
  }
}

/** @returns the password of the role that fills it. */
async function emptyAgain(session: Session, shard: Shard, tenant: Tenant, fence: Fence): Promise<string> {
  const found = await findIn(session, tenant);
  const state = databaseState(shard, tenant, found);
  if (state === 'foreign') throw foreign('database', tenant);
  if (isFinished(state)) throw inUse(tenant, 'is its tenant’s already');
  // Absent, or without a comment: an earlier restore died between its DROP and its COMMENT.
  if (state === 'copying' && !isJustBegun(found)) throw inUse(tenant, 'is a copy of a template in the making');
  expectTenantRole(shard, tenant, found);
  if (isBeingFilled(state)) await markDatabase(session, shard, tenant, 'filling');
  if (state !== 'absent') await dropDatabase(session, tenant.name);
  const { password } = await newFiller(session, shard, tenant);
  await createEmpty(session, tenant);
  await markDatabase(session, shard, tenant, 'filling');
  await closeToAll(session, tenant);
  const [database, filler] = [quoteName(tenant.name), quoteName(fillerOf(tenant))];
  await session.query(`GRANT CONNECT, TEMPORARY, CREATE ON DATABASE ${database} TO ${filler}`);
  await session.query(`GRANT CONNECT ON DATABASE ${database} TO ${quoteName(shard.readerGroup)}`);
  await session.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true`);
  await shard.inside(tenant.name, (client) => client.query(`ALTER SCHEMA public OWNER TO ${filler}`), fence);
  return password;
}

function expectTenantRole(shard: Shard, tenant: Tenant, found: Parameters<typeof roleState>[2]): void {
  const role = roleState(shard, tenant, found);
  if (role === 'foreign') throw foreign('role', tenant);
  if (role === 'absent')
    throw new TenantDatabaseError('TENANT_MISSING', `there is no role ${tenant.name} on this shard`, false);
}

/** @returns the SHA-256 of what came, in hex. */
async function fill(
  url: string,
  database: string,
  content: Readable,
  fence: Fence,
  programs: PostgresPrograms,
  signal: AbortSignal,
): Promise<string> {
  const sum = createHash('sha256');
  const watch = new Transform({
    transform(chunk, _, pass) {
      try {
        fence();
        sum.update(chunk);
        pass(null, chunk);
      } catch (error) {
        pass(error as Error);
      }
    },
  });
  // Owners and rights are set when it is opened. What would connect to other servers by itself is left out.
  const args = ['--no-owner', '--no-privileges', '--no-tablespaces', '--no-subscriptions', '--no-publications'];
  const program = runProgram(
    programs.pgRestore,
    [...args, '--exit-on-error', '--no-password', `--dbname=${database}`],
    {
      environment: libpqEnvironment(url, database, 'mesh restore'),
      signal,
      code: 'RESTORE_FAILED',
    },
  );
  program.stdout.resume();
  const broken = await pipeline(content, watch, program.stdin).then(
    () => undefined,
    (error: Error & { code?: string }) => {
      program.kill();
      return error;
    },
  );
  const failure = await program.ended.then(
    () => undefined,
    (error: unknown) => error,
  );
  signal.throwIfAborted();
  if (broken && !(readsNoMore(broken) && failure)) throw broken;
  if (failure) throw unreadable(failure);
  return sum.digest('hex');
}

/** A program that has ended reads no more, which is not what broke. */
function readsNoMore({ code }: { readonly code?: string }): boolean {
  return code === 'EPIPE' || code === 'ERR_STREAM_PREMATURE_CLOSE';
}

/** What pg_restore says of a dump that is not whole, or none. */
const ofDump =
  /valid archive|too short|end of file|could not find block|could not uncompress|did not find magic|unsupported version|unexpected section|unrecognized|sanity check|found unexpected|corrupt/;

function unreadable(error: unknown): unknown {
  const { message } = error as Error;
  return ofDump.test(message) ? new TenantDatabaseError('DUMP_UNREADABLE', message, false) : error;
}

/** A connection of the role that fills, into what it fills. */
export async function asFiller<T>(
  url: string,
  longestMs: number,
  signal: AbortSignal | undefined,
  work: (client: Session) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: 10_000,
    application_name: 'mesh restore',
    options: `-c statement_timeout=${longestMs} -c lock_timeout=20000`,
    stream: () => thatEndsWhenSilentFor(longestMs + 10_000),
  });
  client.on('error', () => {});
  const stop = () => void client.end();
  await client.connect();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await work({ query: (sql, parameters = []) => client.query(sql, [...parameters]) });
  } finally {
    signal?.removeEventListener('abort', stop);
    await client.end();
  }
}

/**
 * Hands a filled database over to its tenant, for whom it is from now on as any other. Safe to repeat, after any
 * statement; one that is the tenant's already is left as it is. Throws NOT_FILLED, FOREIGN_OBJECT, TENANT_MISSING.
 */
export async function openRestored(shard: Shard, tenant: Tenant, fence: Fence): Promise<void> {
  checkTenantName(tenant.name);
  await shard.exclusively(
    tenant.name,
    async (session) => {
      const found = await findIn(session, tenant);
      const state = databaseState(shard, tenant, found);
      if (state === 'foreign') throw foreign('database', tenant);
      if (isFinished(state)) return;
      if (state !== 'filled')
        throw new TenantDatabaseError('NOT_FILLED', `database ${tenant.name} is ${state}, and not filled`, false);
      expectTenantRole(shard, tenant, found);
      const [database, role] = [quoteName(tenant.name), quoteName(tenant.name)];
      await session.query(`GRANT ${role} TO CURRENT_USER`);
      // To own the schema, and in the end; it may not connect yet.
      await session.query(`GRANT CREATE, TEMPORARY ON DATABASE ${database} TO ${role}`);
      if ((await fillerState(session, shard, tenant)) === 'ours') await newFiller(session, shard, tenant);
      await shard.inside(tenant.name, (client) => handOver(client, session, shard, tenant), fence);
      await dropFiller(session, shard, tenant);
      await session.query(`GRANT CONNECT ON DATABASE ${database} TO ${role}`);
      await markDatabase(session, shard, tenant, 'owned');
    },
    fence,
  );
}

async function handOver(client: Session, session: Session, shard: Shard, tenant: Tenant): Promise<void> {
  // No function or operator of the customer's is taken for PostgreSQL's own.
  await client.query(`SET search_path = ''`);
  if ((await fillerState(session, shard, tenant)) === 'ours') {
    const filler = quoteName(fillerOf(tenant));
    // Schemas first: who gets a function has to have the right to make one there.
    const { rows } = await client.query<{ name: string }>(
      'SELECT nspname AS name FROM pg_namespace WHERE nspowner = (SELECT oid FROM pg_roles WHERE rolname = $1)',
      [fillerOf(tenant)],
    );
    for (const { name } of rows)
      await client.query(`ALTER SCHEMA ${quoteName(name)} OWNER TO ${quoteName(tenant.name)}`);
    // This role has nothing in any other database, so that REASSIGN reaches no further (facts: odoo-measured §5).
    await client.query(`REASSIGN OWNED BY ${filler} TO ${quoteName(tenant.name)}`);
    await client.query(`DROP OWNED BY ${filler}`);
  }
  await giveEverythingTo(client, tenant.name, shard.readerGroup);
}

export interface ListedDump {
  /** Tables, their contents, indexes and so on, each one. */
  readonly entries: number;
  /** Of the server that it was made of, for instance `15.18`. */
  readonly serverVersion: string | undefined;
}

/** What a dump says that it holds; of the rest of it nothing is read. Throws DUMP_UNREADABLE, or whatever breaks `content`. */
export async function listDump(
  content: Readable,
  { programs, signal }: { readonly programs: PostgresPrograms; readonly signal?: AbortSignal },
): Promise<ListedDump> {
  const program = runProgram(programs.pgRestore, ['--list'], { environment: {}, signal, code: 'DUMP_UNREADABLE' });
  let list = '';
  program.stdout.setEncoding('utf8').on('data', (text: string) => {
    list += text;
  });
  const fed = pipeline(content, program.stdin).then(
    () => undefined,
    (error: Error & { code?: string }) => error,
  );
  const failure = await program.ended.then(
    () => undefined,
    (error: Error) => error,
  );
  content.destroy();
  const broken = await fed;
  signal?.throwIfAborted();
  // What did not come says nothing about what is there.
  if (failure && broken && !readsNoMore(broken)) throw broken;
  if (failure) throw new TenantDatabaseError('DUMP_UNREADABLE', failure.message, false);
  const entries = list.split('\n').filter((line) => /^\d+;/.test(line)).length;
  if (entries === 0)
    throw broken ?? new TenantDatabaseError('DUMP_UNREADABLE', 'the dump lists nothing that it holds', false);
  return { entries, serverVersion: /Dumped from database version: (\S+)/.exec(list)?.[1] };
}
