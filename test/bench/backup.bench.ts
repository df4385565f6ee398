import { readFileSync } from 'node:fs';
import { Client, Pool } from 'pg';
import { newId } from '#contracts/index.js';
import type { StackEnv } from '#local/env-file.js';
import { findPostgresPrograms } from '#tenant-databases/index.js';
import { waitFor } from '#testing/wait-for.js';
import { BackupCustomer, customerId, type Tenant } from './backup-customer.js';
import { BareBackup, type BareBackupTarget } from './bare-backup.js';
import { targetIn } from './bare-provisioner.js';
import { BareVolume } from './bare-volume.js';
import { bench, type Contender, type Measured, type Running } from './bench.js';
import { BenchMesh, tablesOfAnOdoo, templateMiB } from './bench-mesh.js';
import { MachineCpu } from './machine-cpu.js';
import { inParallel } from './parallel.js';
import { Stopwatch } from './stopwatch.js';
import { within } from './within.js';

/** On both sides: as MESH_BACKUPS_PER_SHARD is by itself. */
const atOnce = 4;
/** Of a cell: more may be under way than are being dumped. */
const volumesAtOnce = 8 * atOnce;
/** The large one has so many MiB for each of the small ones: a thousand beside two hundred. */
const largeMiBEach = 5;
/** Backed up before it is measured: they compile what is to be compiled. On both sides. */
const first = 5;
/** Slower, one after the other, is broken. */
const slowestMs = 3_000;
const settledWithinMs = 300_000;

interface Setting {
  readonly mesh: string;
  readonly tenants: readonly Tenant[];
  readonly large: Tenant;
  readonly bare: BareBackupTarget;
  readonly cluster: ConstructorParameters<typeof BareVolume>[0];
  readonly askUrl: string;
  readonly listenUrl: string;
  /** The mesh's own database and the shard, as an administrator. */
  readonly meshUrl: string;
  readonly shardUrl: string;
  readonly servicePid: number;
}

export const backup = bench<Setting>({
  name: 'backup',
  says: 'so many small instances backed up and proved, and a large one restored, against pg_dump and pg_restore alone',
  size: {
    full: { n: 200, rounds: 2, warmUp: 0, minutes: 13 },
    quick: { n: 20, rounds: 1, warmUp: 0, minutes: 2 },
  },
  setUp,
  contenders: {
    service: contender((one) => one.manyBackups()),
    'bare script': bareContender((script, setting) => bareBackups(script, setting)),
    'script with volumes': bareContender(bareBackupsWithVolumes),
    'full proofs': { ...contender((one) => one.fullProofs()), share: 0.1, rounds: 1 },
    'bare restores': { ...bareContender(bareRestores), share: 0.1, rounds: 1 },
    'large one': { ...contender((one) => one.largeRestore()), share: 0.005, rounds: 1 },
    'bare large one': { ...bareContender(bareLargeRestore), share: 0.005, rounds: 1 },
  },
  comparisons: [
    {
      ...{ says: 'backed up', quantity: 'perSecond', ours: 'service', reference: 'bare script' },
      goal: { of: 'ratio', is: 'at least', value: 0.85 },
    },
    {
      ...{
        says: 'with volumes on both sides',
        quantity: 'perSecond',
        ours: 'service',
        reference: 'script with volumes',
      },
      goal: { of: 'ratio', is: 'at least', value: 0.85 },
    },
    { says: 'CPU of our own process', quantity: 'cpuMsEach', ours: 'service', reference: 'bare script' },
    { says: 'light proofs', quantity: 'lightPerSecond', ours: 'service', reference: 'bare script' },
    { says: 'full proofs', quantity: 'perMinute', ours: 'full proofs', reference: 'bare restores' },
    { says: 'a large one restored in place', quantity: 'seconds', ours: 'large one', reference: 'bare large one' },
    {
      says: 'and of that pg_restore itself',
      quantity: 'pgRestoreSeconds',
      ours: 'large one',
      reference: 'bare large one',
    },
  ],
  notes: [
    `Both sides back up the same instances, copies of a template with ${tablesOfAnOdoo} tables and ${templateMiB} MiB of rows, about what the smallest Odoo has, ${atOnce} dumps at a time, with the same pg_dump (-Fc -Z1) into the same bucket.`,
    'The service: from the first request on the broker to the last BackupCompleted. Of each it also counts and sums all rows in the same snapshot, holds its files, takes and removes a VolumeSnapshot, a copy of the volume and a Job (simulated ones, which carry no files), writes a fingerprint and a manifest, and tells it. The bare script (bare-backup.ts) does nothing of that.',
    'The script with volumes also has a snapshot, a volume of it and a Job made and removed for each (bare-volume.ts): what the servers of the cluster do for that, on the same cores, is no part of pg_dump, and is most of the difference.',
    'Its proofs are held back while backups are measured, and then all begin at once. Light: every object read and summed, and pg_restore --list; of the bare script: the dump alone, read and summed, and the same list.',
    'Full proofs: a footprint is made, the dump restored, neutralised and compared row by row, and the footprint removed. Bare: CREATE DATABASE, pg_restore, DROP DATABASE, four at a time.',
    `The large one has ${largeMiBEach} MiB of rows for each of N. From the request to RestoreCompleted: it is restored beside itself and compared while it runs; standstillSeconds is from its stop to its new start, with the safety backup. pgRestoreSeconds: for how long a connection of it was seen on the server, every 100 ms; analysing comes after it.`,
    'rssMiB…: the memory of the service before, in the middle and after the backups of a round, and after its proofs.',
  ],
});

async function setUp(stack: StackEnv, n: number, profiles: string | undefined) {
  const settings = {
    MESH_BACKUP_SCHEDULES: 'off',
    MESH_BACKUPS_PER_SHARD: String(atOnce),
    MESH_PROOFS_PER_SHARD: String(atOnce),
    // All of them are in one cell, where more may be under way than are being dumped.
    MESH_BACKUPS_PER_CELL: String(volumesAtOnce),
  };
  const mesh = await BenchMesh.install(stack, profiles, { backup: settings }, 'as wide as an Odoo', 'backup');
  try {
    return { setting: await settingOf(stack, mesh, n), tearDown: () => mesh.remove() };
  } catch (error) {
    await mesh.remove();
    throw error;
  }
}

async function settingOf(stack: StackEnv, mesh: BenchMesh, n: number): Promise<Setting> {
  await mesh.startServices();
  const { pgDump, pgRestore } = await findPostgresPrograms();
  const listen = new URL(stack.MESH_RABBITMQ_URL);
  listen.pathname = `/${mesh.name}`;
  const urls = { askUrl: mesh.installed.amqpUrl('signup'), listenUrl: listen.toString() };
  const customer = await BackupCustomer.connect(urls.askUrl, urls.listenUrl);
  try {
    const made = await within(60_000 + n * slowestMs, customer.instances(n + 1));
    const [large, ...tenants] = made as [Tenant, ...Tenant[]];
    await enlarge(stack.MESH_POSTGRES_URL, large, n * largeMiBEach);
    const meshUrl = at(stack.MESH_POSTGRES_URL, new URL(mesh.installed.meshDatabaseUrl).pathname);
    return {
      ...{ mesh: mesh.name, tenants, large, ...urls, meshUrl, shardUrl: stack.MESH_POSTGRES_URL },
      bare: {
        ...{ storage: mesh.installed.backupStorage, pgDump, pgRestore },
        ...{ readerUrl: mesh.shardReaderUrl, shardUrl: mesh.shardUrl },
      },
      cluster: { ...targetIn(stack.MESH_KUBECONFIG), storageClass: stack.MESH_STORAGE_CLASS },
      servicePid: mesh.services.pid('backup')!,
    };
  } finally {
    await customer.close();
  }
}

/** With rows that compress to about a half, as text does that is not all the same, and a key. */
async function enlarge(url: string, { database, role }: Tenant, mib: number): Promise<void> {
  const client = new Client({ connectionString: at(url, database) });
  await client.connect();
  try {
    const sums = Array.from({ length: 30 }, (_, index) => `md5((n * 30 + ${index})::text)`).join(' || ');
    await client.query(
      `CREATE TABLE public.bench_rows AS SELECT n AS id, ${sums} AS words FROM generate_series(1, ${mib} * 1024) n`,
    );
    await client.query('ALTER TABLE public.bench_rows ADD PRIMARY KEY (id)');
    await client.query(`ALTER TABLE public.bench_rows OWNER TO "${role}"`);
  } finally {
    await client.end();
  }
}

function at(url: string, database: string): string {
  const one = new URL(url);
  one.pathname = database;
  return one.toString();
}

function contender(round: (one: Watched) => (n: number) => Promise<Measured>): Contender<Setting> {
  return {
    async start(setting): Promise<Running> {
      const one = await Watched.at(setting);
      return { round: round(one), stop: () => one.leave() };
    },
  };
}

/** The service from outside: what it is asked and says, and what its process costs. */
class Watched {
  private constructor(
    private readonly setting: Setting,
    private readonly customer: BackupCustomer,
    private readonly mesh: Pool,
    private readonly shard: Pool,
  ) {}

  static async at(setting: Setting): Promise<Watched> {
    const customer = await BackupCustomer.connect(setting.askUrl, setting.listenUrl);
    const pool = (connectionString: string) => new Pool({ connectionString, max: 1 });
    return new Watched(setting, customer, pool(setting.meshUrl), pool(setting.shardUrl));
  }

  async leave(): Promise<void> {
    await Promise.all([this.customer.close(), this.mesh.end(), this.shard.end()]);
  }

  manyBackups() {
    let warm = false;
    return async (n: number): Promise<Measured> => {
      const ids = this.setting.tenants.slice(0, n).map(({ instanceId }) => instanceId);
      await this.hold();
      if (!warm) {
        const warming = await within(120_000, this.customer.backups(ids.slice(0, first), 'manual'));
        await within(120_000, this.customer.proofs(warming, this.release));
        await this.settled();
        await this.hold();
      }
      warm = true;
      const [cpu, rssMiBBefore] = [this.cpuMs(), this.rssMiB()];
      let [done, rssMiBMiddle, rssMiBHighest] = [0, 0, 0];
      const machine = MachineCpu.ifAsked();
      const watch = new Stopwatch();
      const backupIds = await within(
        60_000 + n * slowestMs,
        this.customer.backups(ids, 'manual', () => {
          done += 1;
          const rss = this.rssMiB();
          rssMiBHighest = Math.max(rssMiBHighest, rss);
          if (done === Math.ceil(n / 2)) rssMiBMiddle = rss;
        }),
      );
      const { perSecond } = watch.stop(n);
      machine?.tell('service', n);
      const [cpuMsEach, rssMiBAfter] = [(this.cpuMs() - cpu) / n, this.rssMiB()];
      await this.settled(['backup']);
      const proofs = new Stopwatch();
      const proofCpu = this.cpuMs();
      await within(60_000 + n * slowestMs, this.customer.proofs(backupIds, this.release));
      const { perSecond: lightPerSecond } = proofs.stop(n);
      const lightCpuMsEach = (this.cpuMs() - proofCpu) / n;
      await this.settled();
      const rssMiBAfterProofs = this.rssMiB();
      return {
        ...{ perSecond: perSecond!, cpuMsEach, lightPerSecond: lightPerSecond!, lightCpuMsEach },
        ...{ rssMiBBefore, rssMiBMiddle, rssMiBAfter, rssMiBHighest, rssMiBAfterProofs },
      };
    };
  }

  fullProofs() {
    return async (n: number): Promise<Measured> => {
      const ids = this.setting.tenants.slice(0, n).map(({ instanceId }) => instanceId);
      const before = await this.databases();
      await this.hold();
      const backupIds = await within(60_000 + n * slowestMs, this.customer.backups(ids, 'pre-upgrade'));
      await this.settled(['backup']);
      const watch = new Stopwatch();
      const said = await within(120_000 + n * 10_000, this.customer.proofs(backupIds, this.release));
      const { perSecond } = watch.stop(n);
      const depths = new Set(said.map(({ data }) => data.depth));
      if (depths.size !== 1 || !depths.has('full')) throw new Error(`the proofs were ${[...depths].join(', ')}`);
      const rtoMs = said.map(({ data }) => data.rtoMs as number).sort((a, b) => a - b);
      await this.settled();
      await waitFor('the footprints of proofs to be gone', async () => (await this.databases()) === before, {
        timeoutMs: settledWithinMs,
        intervalMs: 500,
      });
      return { perMinute: perSecond! * 60, rtoMsMedian: rtoMs[Math.floor(n / 2)]! };
    };
  }

  largeRestore() {
    return async (): Promise<Measured> => {
      const { instanceId } = this.setting.large;
      const dumping = new Stopwatch();
      const [backupId] = await within(600_000, this.customer.backups([instanceId], 'manual'));
      const { perSecond } = dumping.stop(1);
      await this.settled();
      const watching = this.watchRestore();
      const watch = new Stopwatch();
      const said = await within(900_000, this.customer.restore(instanceId, backupId!, 'in-place'));
      const seconds = 1 / watch.stop(1).perSecond!;
      const pgRestoreSeconds = await watching.stop();
      const began = (step: string) => said.find(({ data }) => data.step === step)!.at;
      const between = (one: string, other: string) => (began(other) - began(one)) / 1_000;
      await this.settled();
      return {
        ...{ seconds, pgRestoreSeconds, databaseSeconds: between('database', 'files') },
        standstillSeconds: (said.at(-1)!.at - began('quiesce')) / 1_000,
        ...{ safetySeconds: between('safety', 'release'), backupSeconds: 1 / perSecond! },
      };
    };
  }

  /** Proofs wait, so that what is measured is one thing or the other. */
  private async hold(): Promise<void> {
    await this.mesh.query(
      `CREATE OR REPLACE FUNCTION backup.bench_hold() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN NEW.due_at := now() + interval '1 hour'; RETURN NEW; END $$`,
    );
    await this.mesh.query(
      `CREATE OR REPLACE TRIGGER bench_hold BEFORE INSERT OR UPDATE ON backup.job FOR EACH ROW
         WHEN (NEW.kind IN ('proof', 'restore')) EXECUTE FUNCTION backup.bench_hold()`,
    );
  }

  private readonly release = async (): Promise<void> => {
    await this.mesh.query('DROP TRIGGER IF EXISTS bench_hold ON backup.job');
    await this.mesh.query(`UPDATE backup.job SET due_at = now() WHERE kind IN ('proof', 'restore')`);
  };

  private async settled(kinds: readonly string[] = ['backup', 'proof', 'restore']): Promise<void> {
    const left = async () =>
      (await this.mesh.query('SELECT 1 FROM backup.job WHERE kind = ANY($1) LIMIT 1', [kinds])).rowCount;
    await waitFor('the jobs of the service to end', async () => !(await left()), {
      timeoutMs: settledWithinMs,
      intervalMs: 100,
    });
  }

  private async databases(): Promise<number> {
    const { rows } = await this.shard.query('SELECT count(*)::int AS n FROM pg_database WHERE datname ~ $1', [
      `^${this.setting.mesh}_o[0-9a-f]{32}$`,
    ]);
    return rows[0].n;
  }

  /** From the first to the last moment at which somebody was seen who fills a database, in seconds. */
  private watchRestore(): { stop(): Promise<number> } {
    let [from, to, looking]: [number | undefined, number, Promise<void>] = [undefined, 0, Promise.resolve()];
    const look = async () => {
      const { rowCount } = await this.shard.query(
        `SELECT 1 FROM pg_stat_activity WHERE application_name = 'mesh restore' AND query !~ '^ANALYZE$'`,
      );
      if (!rowCount) return;
      to = performance.now();
      from ??= to;
    };
    const timer = setInterval(() => {
      looking = look().catch(() => {});
    }, 100);
    return {
      async stop() {
        clearInterval(timer);
        await looking;
        return from === undefined ? 0 : (to - from) / 1_000;
      },
    };
  }

  /** Of its own process, without the programs that it runs. */
  private cpuMs(): number {
    const stat = readFileSync(`/proc/${this.setting.servicePid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10; // Linux tells everybody hundredths of seconds
  }

  private rssMiB(): number {
    const status = readFileSync(`/proc/${this.setting.servicePid}/status`, 'utf8');
    return Number(/^VmRSS:\s*(\d+) kB/m.exec(status)![1]) / 1_024;
  }
}

type Round = (n: number) => Promise<Measured>;

/** @param round what it does; with an end when it opens more than the script. */
function bareContender(
  round: (script: BareBackup, setting: Setting) => Round | { readonly round: Round; readonly end: () => Promise<void> },
): Contender<Setting> {
  return {
    async start(setting): Promise<Running> {
      const script = new BareBackup(setting.bare);
      const one = round(script, setting);
      if (typeof one === 'function') return { round: one, stop: () => script.close() };
      return { round: one.round, stop: async () => void (await Promise.all([script.close(), one.end()])) };
    },
  };
}

function bareBackupsWithVolumes(script: BareBackup, setting: Setting) {
  const volumes = new BareVolume(setting.cluster);
  return { round: bareBackups(script, setting, volumes), end: () => volumes.close() };
}

function bareBackups(script: BareBackup, { mesh, tenants }: Setting, volumes?: BareVolume) {
  let round = 0;
  return async (n: number): Promise<Measured> => {
    round += 1;
    const key = (index: number) => `bare/${volumes ? 'with-volume' : 'dump'}/${round}/${tenants[index]!.database}.dump`;
    const copyVolume = async (index: number) => {
      const { footprintId, cell, namespace, volumeClaim: claim } = tenants[index]!;
      await volumes?.copy({ meshName: mesh, id: newId(), footprintId, cell, namespace, claim });
    };
    const backUp = async (many: number) => {
      // As many volumes at a time as the service has, whatever the dumps do.
      await Promise.all([
        inParallel(many, atOnce, (index) => script.backUp(tenants[index]!.database, key(index))),
        inParallel(many, volumesAtOnce, copyVolume),
      ]);
    };
    if (round === 1) await backUp(Math.min(first, n));
    const machine = MachineCpu.ifAsked();
    const watch = new Stopwatch();
    await backUp(n);
    const { perSecond, cpuMicrosEach } = watch.stop(n);
    machine?.tell(volumes ? 'script with volumes' : 'bare script', n);
    const proofs = new Stopwatch();
    await inParallel(n, atOnce, (index) => script.look(key(index)));
    const { perSecond: lightPerSecond } = proofs.stop(n);
    return { perSecond: perSecond!, cpuMsEach: cpuMicrosEach! / 1_000, lightPerSecond: lightPerSecond! };
  };
}

function bareRestores(script: BareBackup, { mesh, tenants }: Setting) {
  return async (n: number): Promise<Measured> => {
    const key = (index: number) => `bare/restored/${tenants[index]!.database}.dump`;
    await inParallel(n, atOnce, (index) => script.backUp(tenants[index]!.database, key(index)));
    const watch = new Stopwatch();
    await inParallel(n, atOnce, async (index) => {
      await script.restore(key(index), `${mesh}_bare_${index}`);
    });
    return { perMinute: watch.stop(n).perSecond! * 60 };
  };
}

/** The dump that the service has made of it. */
function bareLargeRestore(script: BareBackup, { mesh, large }: Setting) {
  return async (): Promise<Measured> => {
    const key = await script.find(`${mesh}/${customerId}/${large.instanceId}/backups/`, /\/database-[^/]*\.dump$/);
    const watch = new Stopwatch();
    const pgRestoreSeconds = await script.restore(key, `${mesh}_bare_large`);
    return { seconds: 1 / watch.stop(1).perSecond!, pgRestoreSeconds };
  };
}
