import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { requestKeys, type Service, services } from '#contracts/index.js';
import { installBroker, rightsOf, rightsOfStranger, uninstallBroker } from '#messaging/index.js';
import { type BucketAccess, installBucket, installGuest, uninstallBucket } from '#object-storage/index.js';
import { backupRole, prepareShard, publishTemplate, Shard, scramVerifier } from '#tenant-databases/index.js';
import { makeTemplate } from '../../templates/src/make-template.js';
import type { StackEnv } from './env-file.js';
import { installCluster, uninstallCluster } from './mesh-cluster.js';
import { addresses } from './node/addresses.js';
import { importImage } from './node/container-runtime.js';
import { filesImageOf } from './node/files-image.js';
import { odooImageOf, writeTemplateImage } from './node/odoo-image.js';
import { State } from './state.js';

/** The services that are programs today; the others have their users and rights already. */
export const programs = [
  'capacity-planner',
  'provisioner',
  'lifecycle',
  'backup',
  'api-gateway',
  'edge',
] as const satisfies readonly Service[];
export type Program = (typeof programs)[number];

export interface MeshPlan {
  /** Everything global begins with it; two meshes with different names share servers without noticing each other. */
  readonly name: string;
  readonly stack: StackEnv;
  /** The checkout. */
  readonly root: string;
  /** Where each service's environment file and kubeconfig are put, readable by this user only. */
  readonly folder: string;
  /** Gives the same secret for the same name each time; without it every installation makes new ones. */
  readonly secret?: (of: string) => string;
  /** Running spares, as the planner's MESH_SPARES says them. */
  readonly spares?: string;
  /** Of the node, where the edge will serve its pages: cells lead there, on a stack with a real node. */
  readonly pagesPort?: number;
  readonly placesPerCell?: number;
  readonly maxCells?: number;
  /** For tests: how long a failed message waits, for instance `20ms,40ms`. */
  readonly retryLevels?: string;
  /** For tests: how soon an unanswered request is asked again, for instance `2s`. */
  readonly askAgain?: string;
  /** For tests: how soon the job of a worker that died goes to another, for instance `2s`. */
  readonly jobLease?: string;
  /** For tests: after what time a provisioning is given up, for instance `3s`. */
  readonly provisioningDeadline?: string;
  /** For tests: settings of lifecycle, by their names, for instance `MESH_STOP_DEADLINE`. */
  readonly lifecycle?: Readonly<Record<string, string>>;
  /** For tests: settings of backup, by their names. */
  readonly backup?: Readonly<Record<string, string>>;
  /** Below which instances have their hosts; by default `localhost`. */
  readonly domain?: string;
  /** For tests: how instances are reached, as those who write routes have it, by the settings' names. */
  readonly entry?: Readonly<Record<string, string>>;
  /** For tests: how often a key may call the API. */
  readonly callsPerMinute?: number;
  /** With a real node: templates as production makes them, by an Odoo. Otherwise of SQL, with no files. */
  readonly makeTemplates?: { readonly told: (step: string, ms: number) => void };
}

export interface InstalledMesh {
  readonly plan: MeshPlan;
  /** AMQP address of a broker user: a service, or `signup`, a foreign service that may ask for things. */
  amqpUrl(user: Service | 'signup'): string;
  /** A key for the API. */
  readonly apiKey: string;
  readonly meshDatabaseUrl: string;
  /** The mesh's role on the shard, as its tenants reach it. */
  readonly shardUrl: string;
  /** Where its backups are kept, as pods reach it. */
  readonly backupStorage: BucketAccess;
  environmentFile(service: Program): string;
}

/**
 * What an administrator does once for a mesh: vhost and broker users, database with a schema and a login role for each
 * service, a bucket for backups with a user of its own, the shard's preparation, service accounts and cluster-wide objects, and the local template. Idempotent.
 * Every secret is made here, handed over in files of mode 0600, and written nowhere else.
 */
export async function installMesh(plan: MeshPlan): Promise<InstalledMesh> {
  const { name, stack, folder } = plan;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const secrets = new Map<string, string>();
  const secret = (of: string) => {
    const known = secrets.get(of) ?? plan.secret?.(of) ?? randomBytes(24).toString('hex');
    secrets.set(of, known);
    return known;
  };
  const apiKey = secret('api key');

  const pages =
    stack.MESH_NODE_ADDRESS && plan.pagesPort ? { address: stack.MESH_NODE_ADDRESS, port: plan.pagesPort } : undefined;
  const [{ kubeconfigs, edgeAddress }, meshDatabaseUrl, backupStorage] = await Promise.all([
    installCluster(name, stack.MESH_KUBECONFIG, folder, pages),
    installDatabase(plan, secret),
    installBackupStorage(plan, secret),
    installUsers(plan, secret),
    installShard(plan, secret),
  ]);

  const amqpUrl = (user: Service | 'signup') =>
    withUser(stack.MESH_RABBITMQ_URL, `${name}-${user}`, secret(`broker ${user}`), name);
  const environmentFile = (service: Program) => join(folder, `${service}.env`);
  for (const service of programs) {
    const environment: Record<string, string> = {
      MESH_NAME: name,
      MESH_AMQP_URL: amqpUrl(service),
      MESH_DATABASE_URL: withUser(meshDatabaseUrl, roleName(name, service), secret(`database ${service}`)),
      ...(stack.MESH_OTLP_ENDPOINT && { MESH_OTLP_ENDPOINT: stack.MESH_OTLP_ENDPOINT }),
      ...(plan.retryLevels && { MESH_RETRY_LEVELS: plan.retryLevels }),
      ...(plan.askAgain && { MESH_ASK_AGAIN: plan.askAgain }),
      ...(hasJobs(service) && {
        MESH_KUBECONFIG: kubeconfigs[service],
        ...(plan.jobLease && { MESH_JOB_LEASE: plan.jobLease }),
      }),
      ...(service === 'capacity-planner' && {
        MESH_DOMAIN: plan.domain ?? 'localhost',
        MESH_SHARDS: 'local=5000',
        MESH_PLACES_PER_CELL: String(plan.placesPerCell ?? 1000),
        MESH_MAX_CELLS: String(plan.maxCells ?? 20),
        ...(plan.spares && { MESH_SPARES: plan.spares }),
        ...(edgeAddress && { MESH_EDGE_ADDRESS: edgeAddress }),
        ...(stack.MESH_NODE_ADDRESS && {
          MESH_CLUSTER_NETWORKS: networksOf(stack).clusterNetworks.join(','),
          MESH_DATABASE_NETWORKS: networksOf(stack)
            .databases.map(({ cidr, port }) => `${cidr}:${port}`)
            .join(','),
          MESH_OBJECT_STORE_NETWORKS: `${stack.MESH_NODE_ADDRESS}/32:${new URL(backupStorage.endpoint).port}`,
        }),
      }),
      ...((worksOnFootprints(service) || service === 'backup') && {
        MESH_SHARD_URLS: `local=${shardUrl(plan, secret)}`,
        MESH_STORAGE_CLASS: stack.MESH_STORAGE_CLASS,
      }),
      ...(worksOnFootprints(service) && {
        MESH_URL_SCHEME: 'http',
        ...(stack.MESH_ROUTER_URL && {
          MESH_ROUTER_URL: stack.MESH_ROUTER_URL,
          MESH_URL_PORT: new URL(stack.MESH_ROUTER_URL).port,
        }),
        ...plan.entry,
      }),
      ...(service === 'provisioner' &&
        plan.provisioningDeadline && { MESH_PROVISIONING_DEADLINE: plan.provisioningDeadline }),
      ...(service === 'lifecycle' && plan.lifecycle),
      ...(service === 'backup' && {
        MESH_FILES_IMAGE: filesImage(stack),
        MESH_S3_FILES_ACCESS_KEY: filesKey(plan, secret).accessKey,
        MESH_S3_FILES_SECRET_KEY: filesKey(plan, secret).secretKey,
        ...(stack.MESH_ROUTER_URL && { MESH_ROUTER_URL: stack.MESH_ROUTER_URL }),
      }),
      ...(keepsBackups(service) && {
        MESH_SHARD_READER_URLS: `local=${shardReaderUrl(plan, secret)}`,
        MESH_S3_ENDPOINT: backupStorage.endpoint,
        MESH_S3_REGION: backupStorage.region,
        MESH_S3_BUCKET: backupStorage.bucket,
        MESH_S3_ACCESS_KEY: backupStorage.accessKey,
        MESH_S3_SECRET_KEY: backupStorage.secretKey,
      }),
      // Last, so that a test can put something between it and its store.
      ...(service === 'backup' && plan.backup),
      ...(service === 'edge' && stack.MESH_NODE_ADDRESS && { MESH_PAGES_HOST: stack.MESH_NODE_ADDRESS }),
      ...(service === 'api-gateway' && {
        MESH_API_KEY_HASHES: createHash('sha256').update(apiKey).digest('hex'),
        ...(plan.callsPerMinute && { MESH_API_CALLS_PER_MINUTE: String(plan.callsPerMinute) }),
      }),
    };
    const text = Object.entries(environment).map(([variable, value]) => `${variable}=${value}\n`);
    writeFileSync(environmentFile(service), text.join(''), { mode: 0o600 });
  }
  return { plan, amqpUrl, apiKey, meshDatabaseUrl, shardUrl: shardUrl(plan, secret), backupStorage, environmentFile };
}

/** Those that work on the cluster. */
function hasJobs(service: Program): service is 'capacity-planner' | 'provisioner' | 'lifecycle' | 'backup' {
  return service === 'capacity-planner' || service === 'backup' || worksOnFootprints(service);
}

function worksOnFootprints(service: Program): service is 'provisioner' | 'lifecycle' {
  return service === 'provisioner' || service === 'lifecycle';
}

function keepsBackups(service: Service): boolean {
  return service === 'backup';
}

/** Removes everything global of a mesh, its instances and its backups included. For meshes that tests made. */
export async function uninstallMesh(mesh: InstalledMesh): Promise<void> {
  const { name, stack } = mesh.plan;
  const users = [...services, 'signup'].map((service) => `${name}-${service}`);
  await Promise.all([
    uninstallBroker(stack.MESH_RABBITMQ_MANAGEMENT_URL, name, users),
    uninstallCluster(name, stack.MESH_KUBECONFIG),
    uninstallDatabases(name, stack.MESH_POSTGRES_URL),
    uninstallBucket(storageOf(stack), backupBucket(name), backupUser(name), filesUser(name)),
  ]);
}

async function installUsers({ name, stack }: MeshPlan, secret: (of: string) => string): Promise<void> {
  const users = [...services, 'signup' as const].map((user) => ({
    name: `${name}-${user}`,
    password: secret(`broker ${user}`),
    rights: user === 'signup' ? rightsOfStranger(requestKeys) : rightsOf(user),
  }));
  await installBroker({
    managementUrl: stack.MESH_RABBITMQ_MANAGEMENT_URL,
    amqpUrl: stack.MESH_RABBITMQ_URL,
    vhost: name,
    users,
  });
}

/** The bucket of the mesh's backups, a user that reaches nothing else, and one for Jobs in cells, which reaches files alone. */
async function installBackupStorage(plan: MeshPlan, secret: (of: string) => string): Promise<BucketAccess> {
  const { name, stack } = plan;
  const user = { accessKey: backupUser(name), secretKey: secret('backup storage') };
  const access = await installBucket(storageOf(stack), backupBucket(name), user);
  await installGuest(storageOf(stack), access, filesKey(plan, secret), filesGrants);
  if (!stack.MESH_NODE_ADDRESS) return access;
  const endpoint = new URL(access.endpoint);
  endpoint.hostname = stack.MESH_NODE_ADDRESS;
  return { ...access, endpoint: endpoint.origin };
}

function storageOf(stack: StackEnv) {
  return {
    endpoint: stack.MESH_S3_ENDPOINT,
    region: stack.MESH_S3_REGION,
    accessKey: stack.MESH_S3_ROOT_ACCESS_KEY,
    secretKey: stack.MESH_S3_ROOT_SECRET_KEY,
  };
}

const backupBucket = (meshName: string) => `${meshName}-backups`;
const backupUser = (meshName: string) => `${meshName}-backup`;
const filesUser = (meshName: string) => `${meshName}-files`;
const filesKey = ({ name }: MeshPlan, secret: (of: string) => string) => ({
  accessKey: filesUser(name),
  secretKey: secret('backup storage of files'),
});

/** What a Job in a cell needs (docs/running.md): contents and their indexes, and to remove nothing. No dump, no manifest. */
const filesGrants = [
  {
    actions: ['s3:GetObject', 's3:PutObject', 's3:AbortMultipartUpload', 's3:ListMultipartUploadParts'],
    keys: ['*/files/*', '*/backups/*/files-*'],
  },
  { actions: ['s3:ListBucket'] },
] as const;

/** One database; a schema and a role for each service, and nobody sees another's. */
async function installDatabase({ name, stack }: MeshPlan, secret: (of: string) => string): Promise<string> {
  const database = roleName(name, 'mesh');
  const url = withUser(stack.MESH_POSTGRES_URL, undefined, undefined, database);
  await asAdministrator(stack.MESH_POSTGRES_URL, async (client) => {
    const { rowCount } = await client.query('SELECT 1 FROM pg_database WHERE datname = $1', [database]);
    if (!rowCount) await client.query(`CREATE DATABASE ${quote(database)}`);
    await client.query(`REVOKE ALL ON DATABASE ${quote(database)} FROM PUBLIC`);
    for (const service of services) {
      const role = quote(roleName(name, service));
      const exists = await client.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [roleName(name, service)]);
      // A verifier, so that the password is in no log of the server.
      const verifier = scramVerifier(secret(`database ${service}`));
      await client.query(`${exists.rowCount ? 'ALTER' : 'CREATE'} ROLE ${role} LOGIN PASSWORD '${verifier}'`);
      await client.query(`GRANT CONNECT ON DATABASE ${quote(database)} TO ${role}`);
    }
  });
  await asAdministrator(url, async (client) => {
    for (const service of services)
      await client.query(
        `CREATE SCHEMA IF NOT EXISTS ${quote(schemaName(service))} AUTHORIZATION ${quote(roleName(name, service))}`,
      );
  });
  return url;
}

/** The shard's preparation, and a template of Odoo's shape in two languages, so that instances can be made. */
async function installShard(plan: MeshPlan, secret: (of: string) => string): Promise<void> {
  const { name, stack } = plan;
  await prepareShard({
    administratorUrl: stack.MESH_POSTGRES_URL,
    meshName: name,
    password: secret('shard'),
    backupPassword: secret('shard backup'),
  });
  if (plan.makeTemplates && stack.MESH_NODE_ADDRESS) return await makeByOdoo(plan, plan.makeTemplates.told, secret);
  const shape = readFileSync(join(plan.root, 'deploy/local/template/odoo-shape.sql'), 'utf8');
  // Its image has no files (`odooImage`): a row that names one would be a file that is lost.
  const sql = `${shape}\nDELETE FROM ir_attachment;\n`;
  const shard = new Shard('local', shardUrl(plan, secret), name);
  const templates = ['en_US', 'fr_FR'].map((language) => ({
    database: roleName(name, `tpl_18_apps_${language.toLowerCase()}`),
    language,
  }));
  try {
    // Before the templates: whoever hears of one may start a pod of it.
    const image = await odooImage(
      plan,
      templates.map(({ database }) => database),
    );
    for (const { database, language } of templates)
      await publishTemplate(shard, { database, image, version: '18.0', bundle: 'apps', language }, sql);
  } finally {
    await shard.close();
  }
}

/** One template, in the language that instances have when nobody says another. */
async function makeByOdoo(
  plan: MeshPlan,
  told: (step: string, ms: number) => void,
  secret: (of: string) => string,
): Promise<void> {
  const { name, stack } = plan;
  const state = new State(stack.MESH_STATE);
  const base = odooImageOf(state);
  const shard = new Shard('local', shardUrl(plan, secret), name);
  const folder = state.path('node', 'templates', name);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  try {
    await makeTemplate({
      meshName: name,
      kubeconfig: stack.MESH_KUBECONFIG,
      shard,
      storageClass: stack.MESH_STORAGE_CLASS,
      ...networksOf(stack),
      image: base.name,
      version: '18.0',
      bundle: 'apps',
      language: 'en_US',
      folder,
      async withFiles(database, files) {
        const image = { name: `registry.local/${name}/odoo:18.0-${Date.now()}`, file: `${folder}.tar` };
        await writeTemplateImage(base, image.file, image.name, { [database]: files });
        await importImage(state, image);
        return image.name;
      },
      told,
    });
  } finally {
    await shard.close();
  }
}

/** What is the cluster's own, and where the tenants' databases answer. */
function networksOf(stack: StackEnv) {
  return {
    clusterNetworks: [addresses.nodeNetwork, addresses.podNetwork, addresses.serviceNetwork],
    databases: [{ cidr: `${stack.MESH_NODE_ADDRESS}/32`, port: Number(new URL(stack.MESH_POSTGRES_URL).port) }],
  };
}

/** On simulated nodes a name is enough; a real one needs the image, with a folder for each template's files. */
async function odooImage({ name, stack }: MeshPlan, templates: readonly string[]): Promise<string> {
  if (!stack.MESH_NODE_ADDRESS) return 'registry.local/odoo:18.0';
  const image = `registry.local/${name}/odoo:18.0`;
  const state = new State(stack.MESH_STATE);
  const file = state.path('node', 'images', `${name}-odoo.tar`);
  if (!existsSync(file)) {
    const folders = Object.fromEntries(templates.map((database) => [database, undefined]));
    await writeTemplateImage(odooImageOf(state), file, image, folders);
  }
  await importImage(state, { name: image, file });
  return image;
}

/** On simulated nodes a name is enough. */
function filesImage(stack: StackEnv): string {
  return stack.MESH_NODE_ADDRESS ? filesImageOf(new State(stack.MESH_STATE)).name : 'registry.local/mesh-files:1';
}

/** As its tenants reach it: what stands here goes into their odoo.conf. */
function shardUrl({ name, stack }: MeshPlan, secret: (of: string) => string): string {
  return onShard(stack, roleName(name, 'shard'), secret('shard'));
}

/** For the role that reads every tenant. */
function shardReaderUrl({ name, stack }: MeshPlan, secret: (of: string) => string): string {
  return onShard(stack, backupRole(name), secret('shard backup'));
}

function onShard(stack: StackEnv, role: string, password: string): string {
  const url = new URL(withUser(stack.MESH_POSTGRES_URL, role, password, 'postgres'));
  if (stack.MESH_NODE_ADDRESS) url.hostname = stack.MESH_NODE_ADDRESS;
  return url.toString();
}

async function uninstallDatabases(name: string, administratorUrl: string): Promise<void> {
  const prefix = `${databasePrefix(name)}\\_%`;
  await asAdministrator(administratorUrl, async (client) => {
    const databases = await client.query('SELECT datname FROM pg_database WHERE datname LIKE $1', [prefix]);
    for (const { datname } of databases.rows) {
      await client.query(`ALTER DATABASE ${quote(datname)} IS_TEMPLATE false`);
      await client.query(`DROP DATABASE ${quote(datname)} WITH (FORCE)`);
    }
    const roles = await client.query('SELECT rolname FROM pg_roles WHERE rolname LIKE $1', [prefix]);
    for (const { rolname } of roles.rows) await client.query(`DROP OWNED BY ${quote(rolname)}`);
    for (const { rolname } of roles.rows) await client.query(`DROP ROLE ${quote(rolname)}`);
  });
}

async function asAdministrator(url: string, work: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client({ connectionString: url, application_name: 'mesh installation' });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

function withUser(base: string, user?: string, password?: string, path?: string): string {
  const url = new URL(base);
  if (user !== undefined) url.username = user;
  if (password !== undefined) url.password = password;
  if (path !== undefined) url.pathname = `/${path}`;
  return url.toString();
}

/** PostgreSQL's names take no hyphen without quotes, and tenants may list them: plain words only. */
function databasePrefix(meshName: string): string {
  return meshName.replaceAll('-', '_');
}

function roleName(meshName: string, of: string): string {
  return `${databasePrefix(meshName)}_${of.replaceAll('-', '_')}`;
}

export function schemaName(service: Service): string {
  return service.replaceAll('-', '_');
}

function quote(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}
