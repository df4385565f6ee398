import { Injectable } from '@nestjs/common';
import { Log } from '#observability/index.js';
import type { Lease } from '#persistence/index.js';
import type { Backup } from '../domain/backup.js';
import { Hopeless } from '../domain/hopeless.js';
import type { MadeFootprint } from '../domain/instance.js';
import { isOfOtherFiles } from '../domain/proof.js';
import { contentsOf, isNeutral, type Progress, type Restore } from '../domain/restore.js';
import { actFor } from './act-for.js';
import { Backups, CellFiles, type Fingerprint, TenantTargets } from './ports.js';
import { ReadBackup } from './read-backup.js';

/** Of files that are missing. */
const namesTold = 5;

export type Step =
  | { readonly kind: 'done'; readonly progress?: Progress }
  | { readonly kind: 'waits'; readonly reason: string; readonly message: string };

/**
 * Brings what a backup has into a footprint that was made for it, and sees that it is what was backed up. Every part may be
 * repeated by whoever comes after a run that died. What can never succeed throws `Hopeless`.
 */
@Injectable()
export class FillFootprint {
  constructor(
    private readonly backups: Backups,
    private readonly read: ReadBackup,
    private readonly files: CellFiles,
    private readonly targets: TenantTargets,
    private readonly log: Log,
  ) {}

  /** As the manifest says, or not at all. Not to be called again when it was opened. @returns what of it is to be noted. */
  async database(lease: Lease, restore: Restore): Promise<Pick<Progress, 'rows' | 'filesMissing'>> {
    const footprint = restore.progress.footprint!;
    const backup = await this.backup(contentsOf(restore).database);
    const manifest = await this.read.manifest(backup);
    const { key, fingerprint } = manifest.database;
    await actFor(lease, restore, 'fill: database', async () => {
      const dump = await this.read.content(key, lease.signal);
      await this.targets
        .fill(footprint, dump, manifest.database.sha256, lease.fence, lease.signal)
        .catch(async (error) => {
          // What was sent to it may be something else than what was dumped: that is why, whatever PostgreSQL says of it.
          await this.read.whole(key, manifest.database, lease.signal);
          throw error;
        });
    });
    const expected = JSON.parse(await this.read.text(fingerprint.key, fingerprint.sha256)) as Fingerprint;
    const differences = await actFor(lease, restore, 'compare: database', () =>
      this.targets.differences(footprint, expected, lease.signal),
    );
    if (differences.length > 0)
      throw new Hopeless('NOT_EQUAL', `the restored database differs: ${differences.slice(0, 10).join('; ')}`);
    const files = await actFor(lease, restore, 'compare: files', () =>
      this.compareFiles(restore, footprint, lease.signal),
    );
    if (isNeutral(restore))
      await actFor(lease, restore, 'neutralise: database', () => this.targets.neutralise(footprint, lease.fence));
    return { rows: manifest.database.rows, ...files };
  }

  /** Its tenant may use it from now on. */
  async open(lease: Lease, restore: Restore): Promise<void> {
    const footprint = restore.progress.footprint!;
    await actFor(lease, restore, 'open: database', () => this.targets.open(footprint, lease.fence));
  }

  /** By a Job in the cell. */
  async volume(lease: Lease, restore: Restore): Promise<Step> {
    const { progress, restoreId } = restore;
    const footprint = progress.footprint!;
    const indexes: string[] = [];
    let prefix: string | undefined;
    for (const backupId of contentsOf(restore).files) {
      const { files } = await this.read.manifest(await this.backup(backupId));
      if (files) indexes.push(files.index);
      prefix ??= files?.prefix;
    }
    if (prefix === undefined) return { kind: 'done', progress: { files: 0, filesSeen: 'simulated' } };
    this.files.watch(footprint.namespace);
    const from = { folder: footprint.database, files: prefix, indexes };
    const job = await this.files.fill(footprint, restoreId, from, lease.fence);
    if (job.state === 'failed') throw new Hopeless(job.code, job.message, job.damaged);
    if (job.state === 'runs') return { kind: 'waits', reason: 'FilesAreFilled', message: job.message };
    const brought = job.state === 'done' ? job.files : 0;
    return { kind: 'done', progress: { files: brought, filesSeen: job.state === 'done' ? 'read' : 'simulated' } };
  }

  /** By its own Odoo, in a Job. */
  async load(lease: Lease, restore: Restore): Promise<Step> {
    const { progress, restoreId, startedAt } = restore;
    const footprint = progress.footprint!;
    this.files.watch(footprint.namespace);
    const { image } = footprint.template;
    const job = await this.files.load(footprint, restoreId, image, footprint.secret, lease.fence);
    if (job.state === 'failed') throw new Hopeless(job.code, job.message);
    if (job.state === 'runs') return { kind: 'waits', reason: 'OdooLoads', message: job.message };
    return { kind: 'done', progress: { rtoMs: Date.now() - startedAt.getTime() } };
  }

  /** What was made to fill it goes; the footprint stays. */
  async endJobs(lease: Lease, { progress: { footprint }, restoreId }: Restore): Promise<Step> {
    if (!footprint || (await this.files.tidy(footprint, restoreId, lease.fence))) return { kind: 'done' };
    return { kind: 'waits', reason: 'JobsEnd', message: 'what has filled it is being removed' };
  }

  /** Whether the indexes have what the restored database names; a file that its instance had lost before is only counted. */
  private async compareFiles(
    restore: Restore,
    footprint: MadeFootprint,
    signal: AbortSignal,
  ): Promise<Pick<Progress, 'filesMissing'>> {
    const there = new Set<string>();
    for (const backupId of contentsOf(restore).files) {
      const { files } = await this.read.manifest(await this.backup(backupId));
      // On a simulated node there are none.
      if (!files) return {};
      for await (const name of this.read.names(files, signal)) there.add(name);
    }
    let [named, missing] = [0, 0];
    const some: string[] = [];
    const note = (name: string) => {
      named += 1;
      if (there.has(name)) return;
      missing += 1;
      if (some.length < namesTold) some.push(name);
    };
    await this.targets.namedFiles(footprint, note, signal);
    if (isOfOtherFiles({ named, missing }))
      throw new Hopeless(
        'FILES_MISSING',
        `of ${named} files that the database names no backup has ${missing}, such as ${some.join(', ')}`,
      );
    const { restoreId, instanceId, backupId } = restore;
    if (missing > 0)
      this.log.warn('an instance had lost files that its database names', {
        ...{ instanceId, backupId, restoreId, missing, files: some },
      });
    return { filesMissing: missing };
  }

  private async backup(backupId: string): Promise<Backup> {
    const backup = await this.backups.get(backupId);
    if (!backup) throw new Hopeless('UNKNOWN_BACKUP', `there is no backup ${backupId}`);
    return backup;
  }
}
