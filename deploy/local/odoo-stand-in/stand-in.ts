import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { stackAddresses } from '#testing/config.js';
import { waitFor } from '#testing/wait-for.js';

/** Odoo's delays, made short. */
const fast = { ODOO_STAND_IN_LOAD_SECONDS: '0', ODOO_STAND_IN_STOP_SECONDS: '0' };

/** The program as a process of its own, for its specs. */
export class StandIn {
  private static readonly running = new Set<StandIn>();
  private readonly ended: Promise<void>;
  private code: number | null | undefined;
  /** What it wrote to stderr. */
  log = '';
  /** What it wrote to stdout. */
  output = '';

  private constructor(private readonly child: ChildProcess) {
    StandIn.running.add(this);
    this.ended = once(child, 'close').then(([code]) => {
      StandIn.running.delete(this);
      this.code = code;
    });
    child.stderr!.setEncoding('utf8').on('data', (text) => {
      this.log += text;
    });
    child.stdout!.setEncoding('utf8').on('data', (text) => {
      this.output += text;
    });
  }

  /** @param environment is all that it gets, but for the way to find its modules. */
  static start(args: readonly string[], environment: Readonly<Record<string, string>> = {}): StandIn {
    const env = { ...fast, PYTHONPATH: import.meta.dirname, PYTHONDONTWRITEBYTECODE: '1', ...environment };
    return new StandIn(
      spawn(stackAddresses().python, ['-m', 'odoo_stand_in', ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] }),
    );
  }

  /** To its end. */
  static async run(args: readonly string[], environment?: Readonly<Record<string, string>>) {
    const program = StandIn.start(args, environment);
    const code = await program.end();
    const { log, output } = program;
    return { code, log, output };
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** As the liveness probe counts them. */
  get threads(): number {
    return readdirSync(`/proc/${this.pid}/task`).length;
  }

  /** Resolves with the first match that the log has. */
  async logged(pattern: RegExp): Promise<RegExpExecArray> {
    return await this.seen(`${pattern} in the log`, () => pattern.exec(this.log));
  }

  /** Waits for it. @returns its exit code, null after a signal. */
  async end(): Promise<number | null> {
    await this.seen('its end', () => this.code !== undefined);
    return this.code ?? null;
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  static async killAll({ but }: { but?: StandIn } = {}): Promise<void> {
    const programs = [...StandIn.running].filter((program) => program !== but);
    for (const program of programs) program.signal('SIGKILL');
    await Promise.all(programs.map((program) => program.ended));
  }

  /** Waits until it listens. Redirects are not followed. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const [, port] = await this.logged(/running on port (\d+)/);
    return await fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual', ...init });
  }

  async status(path: string): Promise<number> {
    return (await this.fetch(path)).status;
  }

  private async seen<T>(what: string, condition: () => T) {
    return await waitFor(what, condition).catch((error) => {
      throw new Error(`${error.message}\n${this.log.slice(-2_000)}`);
    });
  }

  /** A call as the web client makes it. @returns the answer's body, and the cookie of the session if there is one. */
  async call(path: string, params: object, cookie = '') {
    const response = await this.fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', cookie },
      body: JSON.stringify({ jsonrpc: '2.0', params }),
    });
    // biome-ignore lint/suspicious/noExplicitAny: each spec looks into another answer
    const body: any = await response.json();
    return { status: response.status, ...body, cookie: response.headers.get('set-cookie') ?? undefined };
  }

  async logIn(database: string, login: string, password: string) {
    return await this.call('/web/session/authenticate', { db: database, login, password });
  }
}
