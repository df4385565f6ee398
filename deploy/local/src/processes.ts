import { spawn } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';

/** How to start a process, so that it can be started again in exactly the same way. Holds no secret. */
export interface ProcessSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** The whole environment of the process; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Another user to run as; only root can ask for it. */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** What asks it to leave. Default SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
  /** What it starts in process groups of their own outlives it, and it takes that up again when it comes back. */
  readonly childrenOutlive?: boolean;
}

interface ProcessRecord extends ProcessSpec {
  readonly pid: number;
  /** Clock ticks since boot: with the pid it names one process for ever, a reused pid has another. */
  readonly startTime: string;
}

const markerName = 'ODOO_MESH_PROCESS';

/**
 * The background processes of one state folder. They outlive the command that started them; each is known by pid and
 * start time, so that only ever ours are signalled, whatever has become of the pid in the meantime.
 */
export class Processes {
  private readonly runFolder: string;
  private readonly logFolder: string;

  constructor(readonly state: string) {
    this.runFolder = join(state, 'run');
    this.logFolder = join(state, 'logs');
  }

  /** Starts the process unless it is alive. Its output is appended to `logFile(name)`. Throws if it cannot be executed. */
  async start(spec: ProcessSpec): Promise<void> {
    if (this.alive(spec.name)) return;
    await this.endLeftovers(spec);
    mkdirSync(this.runFolder, { recursive: true, mode: 0o700 });
    mkdirSync(this.logFolder, { recursive: true, mode: 0o700 });

    const log = openSync(this.logFile(spec.name), 'a', 0o600);
    try {
      const child = spawn(spec.command, spec.args, {
        cwd: spec.cwd,
        env: { ...spec.env, [markerName]: this.marker(spec.name) },
        uid: spec.user?.uid,
        gid: spec.user?.gid,
        detached: true, // its own process group: Ctrl-C in the terminal is not for it
        stdio: ['ignore', log, log],
      });
      if (child.pid === undefined)
        throw await new Promise<Error>((resolve) => {
          child.once('error', resolve);
        });
      const startTime = startTimeOf(child.pid) ?? 'gone';
      this.write({ ...spec, pid: child.pid, startTime });
      child.unref();
    } finally {
      closeSync(log);
    }
  }

  /** Starts a process that ran before with the arguments it had then. Throws when it never ran here. */
  async startAgain(name: string): Promise<void> {
    await this.start(this.specOf(name));
  }

  /** How it was started last. Throws when it never ran here. */
  specOf(name: string): ProcessSpec {
    const record = this.read(name);
    if (!record) throw new Error(`${name} was never started in ${this.state}`);
    const { pid: _pid, startTime: _startTime, ...spec } = record;
    return spec;
  }

  alive(name: string): boolean {
    const record = this.read(name);
    return record !== undefined && startTimeOf(record.pid) === record.startTime;
  }

  pid(name: string): number | undefined {
    return this.alive(name) ? this.read(name)?.pid : undefined;
  }

  /** Asks the process to leave, kills its group after `graceMs`. Resolves when it is gone; never signals a stranger. */
  async stop(name: string, graceMs = 20_000): Promise<void> {
    const record = this.read(name);
    if (!record || !this.alive(name)) return;
    signal(record.pid, record.stopSignal ?? 'SIGTERM');
    if (await this.gone(record, graceMs)) return;
    await this.kill(name);
  }

  /** SIGKILL to the process and its group, as a crash would end it. Resolves when it is gone. */
  async kill(name: string): Promise<void> {
    const record = this.read(name);
    if (!record || !this.alive(name)) return;
    signal(-record.pid, 'SIGKILL');
    if (!(await this.gone(record, 10_000))) throw new Error(`${name} (pid ${record.pid}) survives SIGKILL`);
  }

  /** Names of all processes that ever ran in this state folder. */
  names(): string[] {
    try {
      return readdirSync(this.runFolder)
        .filter((file) => file.endsWith('.json'))
        .map((file) => file.slice(0, -'.json'.length));
    } catch {
      return [];
    }
  }

  logFile(name: string): string {
    return join(this.logFolder, `${name}.log`);
  }

  /** The last lines of a process' log, for the message of a failure. */
  lastLines(name: string, count = 15): string {
    try {
      const log = stripVTControlCharacters(readFileSync(this.logFile(name), 'utf8'));
      return log.trimEnd().split('\n').slice(-count).join('\n');
    } catch {
      return '(no log)';
    }
  }

  private async gone(record: ProcessRecord, withinMs: number): Promise<boolean> {
    const deadline = Date.now() + withinMs;
    while (startTimeOf(record.pid) === record.startTime) {
      if (Date.now() > deadline) return false;
      await sleep(50);
    }
    return true;
  }

  /**
   * Ends what an earlier run of this process left: its children after a crash, or the process itself when our own
   * command was killed between the start and the note of its pid. They are known by a mark in their environment.
   */
  private async endLeftovers({ name, command, childrenOutlive }: ProcessSpec): Promise<void> {
    const marked = pidsWithEnvironment(`${markerName}=${this.marker(name)}`);
    const left = childrenOutlive ? marked.filter((pid) => runs(pid, command)) : marked;
    for (const pid of left) signal(pid, 'SIGKILL');
    const deadline = Date.now() + 10_000;
    while (left.some((pid) => startTimeOf(pid) !== undefined)) {
      if (Date.now() > deadline) throw new Error(`leftover processes of ${name} survive SIGKILL: ${left.join(', ')}`);
      await sleep(50);
    }
  }

  private marker(name: string): string {
    return `${this.state}:${name}`;
  }

  private recordFile(name: string): string {
    return join(this.runFolder, `${name}.json`);
  }

  private write(record: ProcessRecord): void {
    const file = this.recordFile(record.name);
    writeFileSync(`${file}.new`, JSON.stringify(record, null, 2), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }

  private read(name: string): ProcessRecord | undefined {
    try {
      return JSON.parse(readFileSync(this.recordFile(name), 'utf8'));
    } catch {
      return undefined;
    }
  }
}

/**
 * For tests of faults: ends one process of a running stack with SIGKILL, as a crash would. Names are those of the
 * files in `<state>/run`: broker, database, etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok, jaeger, and
 * those of a real node.
 * Resolves when the process is gone; a process that does not run is no error.
 */
export async function killProcess(state: string, name: string): Promise<void> {
  await new Processes(state).kill(name);
}

/**
 * Starts a process of the stack again with exactly the arguments it had (same port, same data). Resolves when it was
 * started, not when it answers: wait for what you need. Does nothing when it is alive.
 */
export async function startProcess(state: string, name: string): Promise<void> {
  await new Processes(state).startAgain(name);
}

/** Clock ticks since boot at which the process started (proc(5), stat, field 22); undefined when gone or a zombie. */
export function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (fields[0] === 'X') return undefined;
    // Its first thread may be dead while others still hold its ports: then it is not gone yet.
    if (fields[0] === 'Z' && readdirSync(`/proc/${pid}/task`).length <= 1) return undefined;
    return fields[19];
  } catch {
    return undefined;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function runs(pid: number, command: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/exe`) === realpathSync(command);
  } catch {
    return false; // gone meanwhile
  }
}

function pidsWithEnvironment(entry: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      if (!Number.isInteger(pid) || pid === process.pid) return false;
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(entry);
      } catch {
        return false; // gone meanwhile, or another user's
      }
    });
}
