import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Client, Pool as DatabasePool, type PoolClient } from 'pg';
import { Agent, Pool } from 'undici';
import { type FootprintSpec, footprintManifests, odooConf } from '#odoo/index.js';

/**
 * The reference of the bench provision: what somebody writes who wants N instances from a script, once, as fast as they
 * go, on a good day. It imports nothing of ours but the manifests, so that the objects are the same; it has no queue, no
 * state, no second try, tells nobody, and leaves the copies without their customer's names.
 */
export interface BareTarget {
  readonly apiServer: string;
  readonly token: string;
  readonly ca: string;
  readonly namespace: string;
  /** The mesh's role on the shard, not a superuser. */
  readonly shardUrl: string;
  readonly tenantGroup: string;
  readonly readerGroup: string;
  readonly template: string;
}

const sockets = 16;
const instancesAtOnce = 16;
const databasesAtOnce = 10;

export class BareProvisioner {
  private readonly calls: Pool;
  private readonly watches: Agent;
  private readonly databases: DatabasePool;
  private readonly whenReady = new Map<string, () => void>();
  /** Told of each that has become Ready. */
  onReady: () => void = () => {};
  private readonly end = new AbortController();
  private watching: Promise<void> = Promise.resolve();

  constructor(private readonly target: BareTarget) {
    const connect = { ca: target.ca };
    this.calls = new Pool(target.apiServer, { connections: sockets, connect });
    this.watches = new Agent({ connect, bodyTimeout: 0 });
    this.databases = new DatabasePool({ connectionString: target.shardUrl, max: databasesAtOnce });
  }

  /** Resolves when all of them are Ready. */
  async provision(specs: readonly FootprintSpec[]): Promise<void> {
    const ready = Promise.all(
      specs.map(({ names }) => new Promise<void>((resolve) => this.whenReady.set(names.object, resolve))),
    );
    let next = 0;
    const work = async () => {
      for (let spec = specs[next++]; spec; spec = specs[next++]) await this.make(spec);
    };
    await Promise.all(Array.from({ length: instancesAtOnce }, work));
    await Promise.race([ready, this.watching.then(() => Promise.reject(new Error('the watch ended')))]);
  }

  async startWatch(): Promise<void> {
    const path = `/apis/apps/v1/namespaces/${this.target.namespace}/deployments?watch=true`;
    const { statusCode, body } = await this.watches.request({
      origin: this.target.apiServer,
      path,
      method: 'GET',
      headers: { authorization: `Bearer ${this.target.token}` },
      signal: this.end.signal,
    });
    if (statusCode !== 200) throw new Error(`the watch was answered with ${statusCode}`);
    this.watching = this.read(body).catch((error) => {
      if (!this.end.signal.aborted) throw error;
    });
  }

  async close(): Promise<void> {
    this.end.abort();
    await this.watching;
    await Promise.all([this.calls.close(), this.watches.close(), this.databases.end()]);
  }

  private async make(spec: FootprintSpec): Promise<void> {
    const password = randomBytes(24).toString('hex');
    const shard = new URL(this.target.shardUrl);
    const conf = odooConf({
      databaseHost: shard.hostname,
      databasePort: Number(shard.port),
      database: spec.names.database,
      role: spec.names.role,
      password,
      adminPassword: randomBytes(24).toString('hex'),
      databasePool: spec.plan.databasePool,
      memoryLimitBytes: spec.plan.memoryLimitBytes,
    });
    const { secret, volumeClaim, service, deployment, ingressRoute } = footprintManifests(spec, { conf, password });
    const core = `/api/v1/namespaces/${spec.namespace}`;
    await Promise.all([
      this.post(`${core}/secrets`, secret),
      this.post(`${core}/persistentvolumeclaims`, volumeClaim),
      this.makeDatabase(spec, password),
    ]);
    await Promise.all([
      this.post(`${core}/services`, service),
      this.post(`/apis/apps/v1/namespaces/${spec.namespace}/deployments`, deployment),
      this.post(`/apis/traefik.io/v1alpha1/namespaces/${spec.namespace}/ingressroutes`, ingressRoute!),
    ]);
  }

  private async post(path: string, object: object): Promise<void> {
    const { statusCode, body } = await this.calls.request({
      path: `${path}?fieldManager=bare`,
      method: 'POST',
      headers: { authorization: `Bearer ${this.target.token}`, 'content-type': 'application/json' },
      body: JSON.stringify(object),
    });
    const text = await body.text();
    if (statusCode !== 201) throw new Error(`${path} was answered with ${statusCode}: ${text}`);
  }

  private async makeDatabase({ names, plan }: FootprintSpec, password: string): Promise<void> {
    const session = await this.databases.connect();
    try {
      await makeRole(session, names.role, password, plan.databaseConnections, this.target.tenantGroup);
      const database = `"${names.database}"`;
      await session.query(`CREATE DATABASE ${database} TEMPLATE "${this.target.template}" ALLOW_CONNECTIONS false`);
      await session.query(`REVOKE ALL ON DATABASE ${database} FROM PUBLIC`);
      await session.query(`GRANT CONNECT, TEMPORARY, CREATE ON DATABASE ${database} TO "${names.role}"`);
      await session.query(`GRANT CONNECT ON DATABASE ${database} TO "${this.target.readerGroup}"`);
      await session.query(`ALTER DATABASE ${database} ALLOW_CONNECTIONS true`);
      await this.giveEverythingTo(names.database, names.role);
    } finally {
      session.release();
    }
  }

  private async giveEverythingTo(database: string, role: string): Promise<void> {
    const url = new URL(this.target.shardUrl);
    url.pathname = `/${database}`;
    const client = new Client({ connectionString: url.toString() });
    await client.connect();
    try {
      await client.query(ownershipOf(role, this.target.readerGroup));
    } finally {
      await client.end();
    }
  }

  private tellReady(name: string): void {
    const resolve = this.whenReady.get(name);
    if (!resolve) return;
    this.whenReady.delete(name);
    this.onReady();
    resolve();
  }

  private async read(body: AsyncIterable<Buffer>): Promise<void> {
    let rest = '';
    for await (const chunk of body) {
      const lines = (rest + chunk.toString()).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const { object } = JSON.parse(line);
        if (object?.status?.readyReplicas >= 1) this.tellReady(object.metadata.name);
      }
    }
  }
}

async function makeRole(session: PoolClient, role: string, password: string, limit: number, group: string) {
  await session.query('BEGIN');
  await session.query(
    `CREATE ROLE "${role}" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT ${limit}
     PASSWORD '${verifierOf(password)}'`,
  );
  await session.query(`GRANT "${group}" TO "${role}"`);
  await session.query('COMMIT');
}

/** RFC 5803: what PostgreSQL keeps of a password. */
function verifierOf(password: string): string {
  const salt = randomBytes(16);
  const salted = pbkdf2Sync(password, salt, 4096, 32, 'sha256');
  const hmac = (text: string) => createHmac('sha256', salted).update(text).digest();
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64');
  return `SCRAM-SHA-256$4096:${salt.toString('base64')}$${storedKey}:${hmac('Server Key').toString('base64')}`;
}

/** Of the current context of a kubeconfig as the local stack writes it. */
export function targetIn(kubeconfig: string): Pick<BareTarget, 'apiServer' | 'token' | 'ca'> {
  const text = readFileSync(kubeconfig, 'utf8');
  const value = (name: string) => new RegExp(`["']?${name}["']?: *["']?([^"'\\s,}]+)`).exec(text)?.[1];
  const [apiServer, token, ca] = [value('server'), value('token'), value('certificate-authority-data')];
  if (!apiServer || !token || !ca)
    throw new Error(`${kubeconfig} has no server, token or authority that a script reads`);
  return { apiServer, token, ca: Buffer.from(ca, 'base64').toString() };
}

/** The statements by which a copy becomes its tenant's, as libs/tenant-databases says them. */
function ownershipOf(role: string, readerGroup: string): string {
  return `DO $$
    DECLARE
      tenant constant name := '${role}';
      one record;
    BEGIN
      EXECUTE format('GRANT %I TO CURRENT_USER', tenant);
      EXECUTE format('ALTER SCHEMA public OWNER TO %I', tenant);
      FOR one IN
        SELECT c.oid::regclass::text AS object, CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END AS kind
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
          AND c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = tenant)
      LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', one.kind, one.object, tenant);
      END LOOP;
      FOR one IN
        SELECT c.oid::regclass::text AS object FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'S'
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i', 'e'))
          AND c.relowner <> (SELECT oid FROM pg_roles WHERE rolname = tenant)
      LOOP
        EXECUTE format('ALTER SEQUENCE %s OWNER TO %I', one.object, tenant);
      END LOOP;
      FOR one IN
        SELECT p.oid::regprocedure::text AS object, CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE'
            ELSE 'FUNCTION' END AS kind
        FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace
          AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
          AND p.proowner <> (SELECT oid FROM pg_roles WHERE rolname = tenant)
      LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', one.kind, one.object, tenant);
      END LOOP;
      EXECUTE format('GRANT UPDATE ON public.ir_attachment TO %I', '${readerGroup}');
    END $$`;
}
