import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { AppsV1Api, CoreV1Api } from '@kubernetes/client-node';
import { Client, Pool } from 'pg';
import { KubernetesClient, type KubernetesObject, typedApis } from '#kubernetes/index.js';
import { readConfig } from '#local/config.js';
import type { StackEnv } from '#local/env-file.js';
import { type InstalledMesh, installMesh, type MeshPlan, programs, uninstallMesh } from '#local/mesh-install.js';
import { MeshServices, portNames } from '#local/mesh-services.js';
import { State } from '#local/state.js';
import { backupRole, publishTemplate, Shard } from '#tenant-databases/index.js';
import { waitFor } from '#testing/wait-for.js';
import { inParallel } from './parallel.js';

export const templateMiB = 20;
/** Each waits for a checkpoint, and many wait for the same one. */
const dropsAtOnce = 16;
const goneWithinMs = 10 * 60_000;

const padding = `
CREATE TABLE bench_padding (filler text NOT NULL);
DO $$ BEGIN
  WHILE pg_database_size(current_database()) < ${templateMiB} * 1024 * 1024 LOOP
    INSERT INTO bench_padding SELECT repeat(md5(random()::text), 30) FROM generate_series(1, 250);
  END LOOP;
END $$;
`;

/** As many as the smallest Odoo has that anybody runs: `-i base,web,mail`, 27 MB. */
export const tablesOfAnOdoo = 204;

/** Of the kind that Odoo makes: a key, who and when, a company, a name in several languages, an index. */
const tables = `
DO $$
DECLARE model text;
BEGIN
  WHILE (SELECT count(*) FROM pg_tables WHERE schemaname = 'public') < ${tablesOfAnOdoo} LOOP
    model := 'bench_model_' || (SELECT count(*) FROM pg_tables WHERE schemaname = 'public');
    EXECUTE format('CREATE TABLE %I (id serial PRIMARY KEY, name jsonb, sequence integer, active boolean DEFAULT true,
      company_id integer REFERENCES res_company ON DELETE SET NULL, note text,
      create_uid integer REFERENCES res_users ON DELETE SET NULL, create_date timestamp,
      write_uid integer REFERENCES res_users ON DELETE SET NULL, write_date timestamp)', model);
    EXECUTE format('CREATE INDEX ON %I (company_id)', model);
    EXECUTE format('INSERT INTO %I (name, sequence, company_id, create_uid, create_date)
      SELECT jsonb_build_object(''en_US'', md5(n::text)), n, 1, 2, now() FROM generate_series(1, 10) n', model);
  END LOOP;
END $$;
`;

/** What of a mesh's instances stands, counted where it stands. */
export interface Standing {
  readonly databases: number;
  readonly roles: number;
  readonly deployments: number;
}

/**
 * A mesh of its own for one round, with a template of a size that an Odoo has, and gone without a trace after it. The
 * bare script gets the same installation and leaves the services alone.
 */
export class BenchMesh {
  readonly cluster: KubernetesClient;

  private constructor(
    readonly name: string,
    readonly installed: InstalledMesh,
    readonly services: MeshServices,
    readonly shardUrl: string,
    /** As the role that reads every tenant. */
    readonly shardReaderUrl: string,
    private readonly state: State,
    private readonly stack: StackEnv,
  ) {
    this.cluster = new KubernetesClient({ kubeconfig: stack.MESH_KUBECONFIG });
  }

  /** @param profiles where the services leave their CPU profiles, if anybody wants them. */
  static async install(
    stack: StackEnv,
    profiles: string | undefined,
    more: Pick<MeshPlan, 'spares' | 'backup'> = {},
    template: 'of the size of an Odoo' | 'as wide as an Odoo' | 'as small as it is' = 'of the size of an Odoo',
    /** Whose the profiles are. */
    bench = 'provision',
  ): Promise<BenchMesh> {
    const name = `b${randomBytes(3).toString('hex')}`;
    const { root } = readConfig();
    const state = new State(stack.MESH_STATE);
    const seed = randomBytes(16).toString('hex');
    const secret = (of: string) => createHash('sha256').update(`${seed} ${of}`).digest('hex');
    const installed = await installMesh({
      ...{ name, stack, root, folder: join(state.folder, name), secret },
      callsPerMinute: 1_000_000,
      // Nothing begins by itself in the middle of a measurement.
      backup: { MESH_BACKUP_SCHEDULES: 'off' },
      ...more,
    });
    const onShard = (role: string, password: string) => {
      const url = new URL(stack.MESH_POSTGRES_URL);
      [url.username, url.password] = [role, password];
      return url.toString();
    };
    const shardUrl = onShard(`${name}_shard`, secret('shard'));
    const readerUrl = onShard(backupRole(name), secret('shard backup'));
    const ports = Object.fromEntries(
      await Promise.all(portNames.map(async (port) => [port, await state.port(`bench-${port}`)])),
    );
    const services = new MeshServices(installed, state.processes, root, ports);
    const mesh = new BenchMesh(name, installed, services, shardUrl, readerUrl, state, stack);
    // An instance that lives is of the template that the installation made, with its image.
    if (stack.MESH_NODES !== 'real' && template !== 'as small as it is') {
      const shape = readFileSync(join(root, 'deploy/local/template/odoo-shape.sql'), 'utf8');
      await mesh.padTemplate(shape + (template === 'as wide as an Odoo' ? padding + tables : padding));
    }
    if (profiles) mesh.profileTo(profiles, bench);
    return mesh;
  }

  /** Resolves when they are ready and the planner has heard of the templates. */
  async startServices(): Promise<void> {
    await this.services.startAll();
    const heardOfBoth = async () => {
      const [{ heard }] = await this.sql<{ heard: number }>(
        'SELECT count(*)::int AS heard FROM capacity_planner.template',
        [],
        this.installed.meshDatabaseUrl,
      );
      return heard === 2;
    };
    // Longer than a request that was not answered waits until it is asked again.
    await waitFor('the planner to have heard of both templates', heardOfBoth, { timeoutMs: 90_000 });
  }

  get template(): string {
    return `${this.name}_tpl_18_apps_en_us`;
  }

  /** CPU time of the services so far, in milliseconds. */
  cpuMs(): number {
    const ticksPerSecond = 100; // what Linux tells everybody, whatever it counts in
    return programs.reduce((sum, service) => {
      const pid = this.state.processes.pid(this.services.processName(service));
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return sum + ((Number(fields[11]) + Number(fields[12])) * 1_000) / ticksPerSecond;
    }, 0);
  }

  async standing(): Promise<Standing> {
    const tenant = `^${this.name}_o[0-9a-f]{32}$`;
    const [{ databases, roles }] = await this.sql<Standing>(
      `SELECT (SELECT count(*)::int FROM pg_database WHERE datname ~ $1 AND datallowconn) AS databases,
         (SELECT count(*)::int FROM pg_roles WHERE rolname ~ $1) AS roles`,
      [tenant],
    );
    const deployments = await this.cluster.list('Deployment', undefined, this.selector);
    const ready = deployments.filter((one) => ((one as Replicated).status?.readyReplicas ?? 0) >= 1);
    return { databases, roles, deployments: ready.length };
  }

  /** Resolves when nothing of it is left, on the cluster neither, so that the next round meets the same machine. */
  async remove(): Promise<void> {
    await this.services.stopAll();
    await this.dropTenants();
    const namespaces = (await this.cluster.list('Namespace', undefined, this.selector)).map(
      ({ metadata }) => metadata!.name!,
    );
    await this.deleteWorkloads(namespaces);
    await uninstallMesh(this.installed);
    await waitFor(
      `the namespaces of ${this.name} to be gone`,
      async () => (await this.cluster.list('Namespace', undefined, this.selector)).length === 0,
      { timeoutMs: goneWithinMs, intervalMs: 1_000 },
    );
    await this.deleteVolumes(new Set(namespaces));
    await this.cluster.close();
    rmSync(join(this.state.folder, this.name), { recursive: true, force: true });
  }

  private get selector(): string {
    return `app.kubernetes.io/part-of=${this.name}`;
  }

  private async padTemplate(sql: string): Promise<void> {
    const shard = new Shard('local', this.shardUrl, this.name);
    const template = { database: this.template, image: 'registry.local/odoo:18.0', version: '18.0', bundle: 'apps' };
    try {
      await publishTemplate(shard, { ...template, language: 'en_US' }, sql);
    } finally {
      await shard.close();
    }
  }

  private profileTo(folder: string, bench: string): void {
    mkdirSync(folder, { recursive: true });
    for (const service of programs) {
      const options = `--cpu-prof --cpu-prof-dir=${folder} --cpu-prof-name=${bench}-${service}.cpuprofile`;
      appendFileSync(this.installed.environmentFile(service), `NODE_OPTIONS=${options}\n`);
    }
  }

  /** Before the rest and several at once: one after the other a thousand take a minute. */
  private async dropTenants(): Promise<void> {
    const pool = new Pool({ connectionString: this.stack.MESH_POSTGRES_URL, max: dropsAtOnce });
    try {
      const { rows } = await pool.query('SELECT datname FROM pg_database WHERE datname ~ $1', [
        `^${this.name}_o[0-9a-f]{32}$`,
      ]);
      await inParallel(rows.length, dropsAtOnce, async (index) => {
        await pool.query(`DROP DATABASE "${rows[index].datname}" WITH (FORCE)`);
      });
    } finally {
      await pool.end();
    }
  }

  /** What ends only when somebody else is done with it. A namespace that ends with such in it waits, doing nothing. */
  private async deleteWorkloads(namespaces: readonly string[]): Promise<void> {
    const configuration = typedApis(this.cluster);
    for (const namespace of namespaces) {
      await new AppsV1Api(configuration).deleteCollectionNamespacedDeployment({ namespace });
      await this.gone('Pod', namespace);
      await new CoreV1Api(configuration).deleteCollectionNamespacedPersistentVolumeClaim({ namespace });
      await this.gone('PersistentVolumeClaim', namespace);
    }
  }

  private async gone(kind: string, namespace: string): Promise<void> {
    const any = async () => (await this.cluster.listPage(kind, namespace, { limit: '1' })).items.length > 0;
    await waitFor(`each ${kind} of ${namespace} to be gone`, async () => !(await any()), {
      timeoutMs: goneWithinMs,
      intervalMs: 250,
    });
  }

  /** The class says Retain, so volumes outlive their claims. */
  private async deleteVolumes(namespaces: ReadonlySet<string>): Promise<void> {
    const volumes = (await this.cluster.list('PersistentVolume', undefined)) as Volume[];
    const ours = volumes.filter(({ spec }) => namespaces.has(spec?.claimRef?.namespace ?? ''));
    await inParallel(ours.length, 16, async (index) => {
      const { name, uid } = ours[index]!.metadata!;
      await this.cluster.delete({ kind: 'PersistentVolume', name: name! }, { uid: uid! });
    });
  }

  private async sql<Row>(
    sql: string,
    parameters: unknown[],
    connectionString = this.stack.MESH_POSTGRES_URL,
  ): Promise<[Row]> {
    const client = new Client({ connectionString });
    await client.connect();
    try {
      return (await client.query(sql, parameters)).rows as [Row];
    } finally {
      await client.end();
    }
  }
}

interface Replicated extends KubernetesObject {
  readonly status?: { readonly readyReplicas?: number };
}

interface Volume extends KubernetesObject {
  readonly spec?: { readonly claimRef?: { readonly namespace?: string } };
}
