import { createHash } from 'node:crypto';
import { constants, createReadStream, createWriteStream } from 'node:fs';
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Filestore, FileVanished, FolderMissing, VolumeFull } from '../application/ports.js';
import { isStoredName, type StoredFile, sha1Of } from '../domain/stored-file.js';

/** `filestore/<database>` of a volume. Files and folders get the modes that Odoo gives them: those of the umask. */
export class FilestoreFolder extends Filestore {
  /** Into which something was written. */
  private readonly touched = new Set<string>();

  constructor(private readonly root: string) {
    super();
  }

  async *files(): AsyncGenerator<readonly StoredFile[]> {
    const parts = new Map<string, string[]>();
    const names = await this.namesIn('.');
    if (!names) throw new FolderMissing(`there is no ${this.root}`);
    for (const folder of names.filter((name) => /^[0-9a-f]{2,3}$/.test(name)).sort())
      parts.set(folder.slice(0, 2), [...(parts.get(folder.slice(0, 2)) ?? []), folder]);
    for (const folders of parts.values()) {
      const files: StoredFile[] = [];
      for (const folder of folders) files.push(...(await this.filesIn(folder)));
      // `ab/…` before `abc/…`, as texts are sorted.
      yield files.sort((one, other) => (one.name < other.name ? -1 : 1));
    }
  }

  async read(name: string): Promise<Readable> {
    // A link would lead out of the volume: Odoo makes none.
    const file = await open(this.path(name), constants.O_RDONLY | constants.O_NOFOLLOW).catch((error) => {
      throw isAbsent(error) ? new FileVanished(`${name} is gone since it was listed`) : error;
    });
    return file.createReadStream();
  }

  async holds(name: string): Promise<boolean> {
    const hash = createHash('sha1');
    try {
      await pipeline(createReadStream(this.path(name)), hash);
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
    return hash.digest('hex') === sha1Of(name);
  }

  async write(name: string, content: Readable): Promise<void> {
    const path = this.path(name);
    // The same at each try, so that what a killed one left is written over.
    const unfinished = join(dirname(path), `.${sha1Of(name)}.unfinished`);
    try {
      await mkdir(dirname(path), { recursive: true });
      await pipeline(content, createWriteStream(unfinished, { flush: true }));
      await rename(unfinished, path);
    } catch (error) {
      content.destroy();
      await rm(unfinished, { force: true });
      throw isFull(error) ? new VolumeFull(`no room for ${name}`, { cause: error }) : error;
    }
    this.touched.add(dirname(path));
  }

  async flush(): Promise<void> {
    await mkdir(this.root, { recursive: true });
    for (const folder of [...this.touched, this.root, dirname(this.root)]) {
      const handle = await open(folder);
      await handle.sync().finally(() => handle.close());
    }
  }

  private async filesIn(folder: string): Promise<StoredFile[]> {
    const names = ((await this.namesIn(folder)) ?? []).map((name) => `${folder}/${name}`).filter(isStoredName);
    const found = await Promise.all(
      names.map(async (name) => {
        const stats = await lstat(this.path(name)).catch((error) => {
          throw isAbsent(error) ? new FileVanished(`${name} is gone since it was listed`) : error;
        });
        return stats.isFile() ? [{ name, bytes: stats.size }] : [];
      }),
    );
    return found.flat();
  }

  private async namesIn(folder: string): Promise<string[] | undefined> {
    try {
      return await readdir(join(this.root, folder));
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  private path(name: string): string {
    if (!isStoredName(name)) throw new Error(`not the name of an attachment: ${JSON.stringify(name)}`);
    return join(this.root, name);
  }
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;
const isAbsent = (error: unknown) => codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR';
const isFull = (error: unknown) => codeOf(error) === 'ENOSPC' || codeOf(error) === 'EDQUOT';
