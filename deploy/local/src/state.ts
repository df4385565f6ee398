import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { Processes } from './processes.js';

/**
 * The folder of one stack: data, logs, pids, passwords, ports. Made on first use. Others may walk through it (the
 * database server runs as its own user), but read nothing in it.
 */
export class State {
  readonly processes: Processes;

  /** Throws when the folder is somebody else's or holds something else. */
  constructor(readonly folder: string) {
    claimFolder(folder);
    chmodSync(folder, 0o711);
    this.processes = new Processes(folder);
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  get envFile(): string {
    return this.path('stack.env');
  }

  /** A password that stays the same for the life of the state folder. Letters and digits only. */
  secret(name: string): string {
    return this.keep('secrets', name, () => randomBytes(24).toString('hex'));
  }

  /**
   * A port on the loopback, the same each time as long as nobody else took it. It lies below the range from which
   * the kernel takes the ports of outgoing connections, so that a server can be restarted on it at any time.
   * Call it only for a server that does not run.
   */
  async port(name: string): Promise<number> {
    const kept = this.read('ports')[name];
    if (kept !== undefined && (await isFree(Number(kept)))) return Number(kept);
    const taken = new Set(Object.values(this.read('ports')));
    for (let attempt = 0; attempt < 200; attempt++) {
      const port = 20_000 + Math.floor(Math.random() * 12_000);
      if (taken.has(String(port)) || !(await isFree(port))) continue;
      this.write('ports', { ...this.read('ports'), [name]: String(port) });
      return port;
    }
    throw new Error('no free port between 20000 and 32000 on 127.0.0.1');
  }

  /** The port that was chosen for a server before. Throws when it has none yet. */
  keptPort(name: string): number {
    const kept = this.read('ports')[name];
    if (kept === undefined) throw new Error(`no port was chosen for ${name} in ${this.folder}`);
    return Number(kept);
  }

  private keep(file: string, name: string, make: () => string): string {
    const values = this.read(file);
    const kept = values[name];
    if (kept !== undefined) return kept;
    const value = make();
    this.write(file, { ...values, [name]: value });
    return value;
  }

  private read(file: string): Record<string, string> {
    const path = this.path(`${file}.json`);
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  }

  private write(file: string, values: Record<string, string>): void {
    const path = this.path(`${file}.json`);
    writeFileSync(`${path}.new`, JSON.stringify(values, null, 2), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }
}

const mark = '.odoo-mesh';

/** Makes the folder ours, so that it may be deleted later. Throws when it holds what is not. */
export function claimFolder(folder: string): void {
  mkdirSync(folder, { recursive: true });
  if (statSync(folder).uid !== process.getuid?.()) throw new Error(`${folder} belongs to another user`);
  if (isOurs(folder)) return;
  if (readdirSync(folder).length > 0) throw new Error(`${folder} holds other things; name an empty or a new folder`);
  writeFileSync(join(folder, mark), '');
}

/** True for a folder that `claimFolder` made ours. */
export function isOurs(folder: string): boolean {
  return existsSync(join(folder, mark));
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
