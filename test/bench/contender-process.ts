import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { interruption } from '#local/interruption.js';
import type { Measured } from './bench.js';

export type Order =
  | { readonly kind: 'start'; readonly setting: unknown }
  | { readonly kind: 'round'; readonly n: number }
  | { readonly kind: 'stop' };

export type Answer =
  | { readonly kind: 'done' }
  | { readonly kind: 'measured'; readonly measured: Measured }
  | { readonly kind: 'failed'; readonly message: string };

/** The parent's end of one contender. The setting goes over IPC, because it may hold passwords. */
export class ContenderProcess {
  private constructor(
    private readonly name: string,
    private readonly child: ChildProcess,
  ) {}

  /**
   * @param watched profiles: where its CPU profile is put at its end; undefined: none is taken. cpu: it tells which programs
   * of this machine have done the work.
   */
  static async start(
    bench: string,
    contender: string,
    setting: unknown,
    { profiles, cpu }: { readonly profiles: string | undefined; readonly cpu: boolean },
  ): Promise<ContenderProcess> {
    const args = [bench, contender, ...(profiles ? ['--profiles', profiles] : []), ...(cpu ? ['--cpu'] : [])];
    const child = fork(join(import.meta.dirname, 'contender.js'), args, {
      execArgv: ['--enable-source-maps'],
      signal: interruption,
    });
    child.on('error', () => {}); // the interruption; its exit says the rest
    const one = new ContenderProcess(`${bench} ${contender}`, child);
    await one.ask({ kind: 'start', setting });
    return one;
  }

  async round(n: number): Promise<Measured> {
    const answer = await this.ask({ kind: 'round', n });
    if (answer.kind !== 'measured') throw new Error(`${this.name} did not answer with figures`);
    return answer.measured;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.send({ kind: 'stop' });
    await exit;
  }

  private async ask(order: Order): Promise<Answer> {
    this.child.send(order);
    const end = new AbortController();
    try {
      const [answer] = (await Promise.race([
        once(this.child, 'message', { signal: end.signal }),
        once(this.child, 'exit', { signal: end.signal }).then(([code, signal]) => {
          throw new Error(`${this.name} ended in the middle (${signal ?? code})`);
        }),
      ])) as [Answer];
      if (answer.kind === 'failed') throw new Error(`${this.name}: ${answer.message}`);
      return answer;
    } finally {
      end.abort();
    }
  }
}
