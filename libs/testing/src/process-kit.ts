import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { TcpProxy } from './tcp-proxy.js';
import { waitFor } from './wait-for.js';

export interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A compiled program of ours as a process of its own, which a test may stop, freeze and kill as it likes. */
export class Program<Incoming extends object = object, Outgoing extends object = object> {
  readonly ended: Promise<End>;
  /** All it has said over IPC. */
  readonly reports: Incoming[] = [];
  private readonly output: string[] = [];

  private constructor(private readonly child: ChildProcess) {
    this.ended = once(child, 'exit').then(([code, signal]) => ({ code, signal }));
    child.on('message', (one) => this.reports.push(one as Incoming));
    // An order to one who has just died.
    child.on('error', () => {});
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text) => {
        this.output.push(text);
        if (this.output.length > 2_000) this.output.splice(0, 1_000);
      });
  }

  /** @param file the compiled one. The environment is all that it gets, but for the way to find Node. */
  static start<Incoming extends object, Outgoing extends object>(
    file: string,
    environment: Readonly<Record<string, string>>,
  ): Program<Incoming, Outgoing> {
    const env = { PATH: process.env.PATH, ...environment };
    return new Program(fork(file, [], { env, execArgv: [], stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }));
  }

  get pid(): number {
    return this.child.pid!;
  }

  get alive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  tell(order: Outgoing): void {
    if (this.child.connected) this.child.send(order);
  }

  /** Resolves with the first report that fits, also one from before; rejects when the program ends without it. */
  async reported(what: string, fits: (report: Incoming) => boolean, timeoutMs = 30_000): Promise<Incoming> {
    const found = await waitFor(what, () => this.reports.find(fits) ?? !this.alive, { timeoutMs, intervalMs: 5 }).catch(
      (error) => {
        throw new Error(`${error.message}\n${this.lastLines()}`);
      },
    );
    // What was sent last may come after the end was seen.
    const report = found === true ? this.reports.find(fits) : found;
    if (!report) throw new Error(`the program ended before ${what}\n${this.lastLines()}`);
    return report;
  }

  /** As a crash would end it. Safe to repeat. */
  kill(): Promise<End> {
    this.child.kill('SIGKILL');
    return this.ended;
  }

  /** Asks it to leave. */
  async stop(): Promise<End> {
    this.child.kill('SIGTERM');
    return this.ended;
  }

  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  thaw(): void {
    this.child.kill('SIGCONT');
  }

  lastLines(count = 20): string {
    return this.output.join('').trimEnd().split('\n').slice(-count).join('\n');
  }
}

/** What has to be seen on one connection, in one chunk. */
export interface Sign {
  readonly through: TcpProxy;
  readonly direction: 'up' | 'down';
  readonly seen: (chunk: Buffer) => boolean;
}

/** Bytes on their way to a PostgreSQL server: the beginning of a statement, for instance. */
export const statement = (through: TcpProxy, text: string): Sign => ({
  through,
  direction: 'up',
  seen: (chunk) => chunk.includes(text),
});

/** The server says that a command was done, as in `COMMIT` or `DELETE [1-9]` (the number of rows). */
export const completed = (through: TcpProxy, tag: string): Sign => {
  const pattern = new RegExp(`C\\0\\0\\0.${tag}\\d*\\0`, 's');
  return { through, direction: 'down', seen: (chunk) => pattern.test(chunk.toString('latin1')) };
};

const methods = {
  'queue.declare': [50, 10],
  'basic.publish': [60, 40],
  'basic.deliver': [60, 60],
  'basic.ack': [60, 80],
} as const;

/** A method frame of AMQP 0-9-1: to the broker, or `down` from it. */
export const frame = (through: TcpProxy, method: keyof typeof methods, direction: 'up' | 'down' = 'up'): Sign => ({
  through,
  direction,
  seen: (chunk) => frameAt(chunk, method) >= 0,
});

/** Where in the chunk a frame of this method begins; -1: nowhere. */
export function frameAt(chunk: Buffer, method: keyof typeof methods): number {
  const [classId, methodId] = methods[method];
  const payload = Buffer.from([0, classId, 0, methodId]);
  for (let at = chunk.indexOf(payload); at >= 0; at = chunk.indexOf(payload, at + 1)) {
    // Before it: type 1 (method), two bytes of channel, four of size; behind it the mark of the end.
    if (at < 7 || chunk[at - 7] !== 1) continue;
    const end = at + chunk.readUInt32BE(at - 4);
    if (end >= chunk.length || chunk[end] === 0xce) return at - 7;
  }
  return -1;
}

/**
 * Calls `then` in the moment in which the last of `signs` is seen, each of them after the one before it. What it
 * returns is done with that chunk: `cut` swallows it and resets its connection; else it goes on its way.
 * @returns resolves when that has happened.
 */
export function at(signs: readonly Sign[], then: () => 'cut' | undefined): Promise<void> {
  const proxies = new Set(signs.map(({ through }) => through));
  let next = 0;
  return new Promise((resolve) => {
    for (const proxy of proxies)
      proxy.faults.watch = (chunk, direction) => {
        const sign = signs[next];
        if (sign?.through !== proxy || sign.direction !== direction || !sign.seen(chunk)) return undefined;
        next += 1;
        if (next < signs.length) return undefined;
        for (const one of proxies) one.faults.watch = undefined;
        resolve();
        return then();
      };
  });
}

/** Kills the program in that moment; what was on its way arrives, or is `cut` off. */
export async function killAt(
  program: Pick<Program, 'kill' | 'ended'>,
  signs: readonly Sign[],
  then?: 'cut',
): Promise<void> {
  await at(signs, () => {
    void program.kill();
    return then;
  });
  await program.ended;
}
