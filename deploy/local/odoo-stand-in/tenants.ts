import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { hashPassword, type OdooConf, odooConf } from '#odoo/index.js';
import {
  cloneTemplate,
  ensureTenantRole,
  personalise,
  prepareShard,
  publishTemplate,
  Shard,
  type Tenant,
} from '#tenant-databases/index.js';

const shape = join(import.meta.dirname, '../template/odoo-shape.sql');
export const login = 'owner@acme.example';
export const password = 'correct horse';

type Limits = Pick<OdooConf, 'databasePool' | 'memoryLimitBytes'>;

export interface OdooTenant {
  readonly name: string;
  readonly dataDir: string;
  /** What an Odoo is started with: its odoo.conf as the product writes it, and what no pod shares with another here. */
  readonly args: readonly string[];
  /** As the administrator, in this database. */
  // biome-ignore lint/suspicious/noExplicitAny: rows are what the statement makes them, as pg itself types it
  sql<Row extends object = any>(statement: string, parameters?: unknown[]): Promise<Row[]>;
  /** The statement's locks, until they are let go. */
  hold(statement: string): Promise<{ rollBack(): Promise<void> }>;
}

/** Tenants as the product makes them, on a server: a mesh of its own, with a template. */
export class Tenants {
  private readonly made: Tenant[] = [];
  private readonly folder = mkdtempSync(join(tmpdir(), 'odoo-stand-in-'));

  private constructor(
    private readonly shard: Shard,
    private readonly serverUrl: string,
    private readonly template: string,
    private readonly hash: string,
  ) {}

  static async on(serverUrl: string): Promise<Tenants> {
    const meshName = `s${randomBytes(4).toString('hex')}`;
    const secret = randomBytes(12).toString('hex');
    await prepareShard({ administratorUrl: serverUrl, meshName, password: secret });
    const url = new URL(serverUrl);
    url.username = `${meshName}_shard`;
    url.password = secret;
    const shard = new Shard('s', url.toString(), meshName);
    const template = `${meshName}_template`;
    const of = { image: 'odoo:18.0', version: '18.0', bundle: 'base', language: 'en_US' };
    await publishTemplate(shard, { database: template, ...of }, readFileSync(shape, 'utf8'));
    return new Tenants(shard, serverUrl, template, await hashPassword(password));
  }

  /** A role, and a copy of the template that bears the names of a customer. */
  async make(limits: Partial<Limits> = {}): Promise<OdooTenant> {
    const { tenant, odoo } = await this.makeRole(limits);
    await cloneTemplate(this.shard, tenant, this.template);
    await personalise(this.shard, tenant, {
      baseUrl: 'https://acme.example',
      company: 'ACME Ltd',
      adminLogin: login,
      adminPasswordHash: this.hash,
      language: 'en_US',
    });
    return odoo;
  }

  /** A role and no database. */
  async makeWithoutDatabase(): Promise<OdooTenant> {
    return (await this.makeRole()).odoo;
  }

  /** An empty database that belongs to the role: where a template is installed. */
  async makeEmpty(): Promise<OdooTenant> {
    const { odoo } = await this.makeRole();
    await this.administrate(`CREATE DATABASE ${odoo.name} TEMPLATE template0 OWNER ${odoo.name}`);
    return odoo;
  }

  /** On the server, as its administrator. */
  async administrate(statement: string): Promise<unknown[]> {
    const client = new Client({ connectionString: this.serverUrl });
    await client.connect();
    try {
      return (await client.query(statement)).rows;
    } finally {
      await client.end();
    }
  }

  async close(): Promise<void> {
    for (const { name } of this.made) await this.administrate(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    for (const { name } of this.made) await this.administrate(`DROP ROLE IF EXISTS ${name}`);
    await this.administrate(`ALTER DATABASE ${this.template} IS_TEMPLATE false`);
    await this.administrate(`DROP DATABASE ${this.template} WITH (FORCE)`);
    await this.shard.close();
    const roles = ['shard', 'tenant', 'reader'].map((end) => `${this.shard.meshName}_${end}`).join();
    // They go from the rights on `postgres`, which preparations of other tests change under this lock.
    await this.administrate(
      `SELECT pg_advisory_lock(hashtext('mesh shard preparation')); DROP OWNED BY ${roles}; DROP ROLE ${roles}`,
    );
    rmSync(this.folder, { recursive: true, force: true });
  }

  private async makeRole(limits: Partial<Limits> = {}): Promise<{ tenant: Tenant; odoo: OdooTenant }> {
    const name = `${this.shard.meshName}_${randomBytes(4).toString('hex')}`;
    const tenant = { name, footprintId: randomUUID(), epoch: 1 };
    this.made.push(tenant);
    const secret = randomBytes(12).toString('hex');
    await ensureTenantRole(this.shard, tenant, { password: secret, connectionLimit: 12 });
    const { host, port } = this.shard.address;
    const conf = join(this.folder, `${name}.conf`);
    const text = odooConf({
      databaseHost: host,
      databasePort: port,
      role: name,
      database: name,
      password: secret,
      adminPassword: 'unused',
      databasePool: 8,
      memoryLimitBytes: 4 * 1024 ** 3,
      ...limits,
    });
    writeFileSync(conf, text, { mode: 0o600 });
    const dataDir = join(this.folder, name);
    mkdirSync(dataDir);
    const args = ['-c', conf, '-D', dataDir, '--http-interface', '127.0.0.1', '-p', '0'];
    const url = new URL(this.serverUrl);
    url.pathname = `/${name}`;
    const odoo: OdooTenant = {
      name,
      dataDir,
      args,
      async sql(statement, values) {
        const client = new Client({ connectionString: url.toString() });
        await client.connect();
        try {
          return (await client.query(statement, values)).rows;
        } finally {
          await client.end();
        }
      },
      async hold(statement) {
        const client = new Client({ connectionString: url.toString() });
        await client.connect();
        await client.query('BEGIN');
        await client.query(statement);
        return { rollBack: () => client.end() };
      },
    };
    return { tenant, odoo };
  }
}
