import { mkdirSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { benches } from './benches.js';
import type { Answer, Order } from './contender-process.js';
import { MachineCpu } from './machine-cpu.js';

/** One contender in a process of its own: what it allocates, compiles and waits for is nobody else's. */
function say(answer: Answer): void {
  process.send!(answer);
}

async function run(name: string, contender: string, profiles: string | undefined): Promise<void> {
  const bench = benches.find((one) => one.name === name);
  const chosen = bench?.contenders[contender];
  if (!chosen) throw new Error(`there is no contender ${contender} in bench ${name}`);
  let running: Awaited<ReturnType<typeof chosen.start>> | undefined;
  const profiler = profiles ? new Profiler(join(profiles, `${name}-${contender}.cpuprofile`)) : undefined;
  const obey = async (order: Order): Promise<void> => {
    if (order.kind === 'start') {
      running = await chosen.start(order.setting, profiles);
      return say({ kind: 'done' });
    }
    if (!running) throw new Error('the first order is to start');
    if (order.kind === 'round') {
      say({ kind: 'measured', measured: await running.round(order.n) });
      return await profiler?.start();
    }
    await profiler?.write();
    await running.stop();
    process.disconnect();
  };
  process.on('message', (order) => {
    obey(order as Order).catch((error) => say({ kind: 'failed', message: error.stack ?? String(error) }));
  });
  // Without this one who lost his parent would stay.
  process.once('disconnect', () => setTimeout(() => process.exit(), 2_000).unref());
}

/** From the end of the first round on: what is loaded and compiled before is of no interest. */
class Profiler {
  private session: Session | undefined;

  constructor(private readonly file: string) {}

  async start(): Promise<void> {
    if (this.session) return;
    this.session = new Session();
    this.session.connect();
    await this.session.post('Profiler.enable');
    await this.session.post('Profiler.start');
  }

  async write(): Promise<void> {
    if (!this.session) return;
    const { profile } = await this.session.post('Profiler.stop');
    mkdirSync(dirname(this.file), { recursive: true });
    writeFileSync(this.file, JSON.stringify(profile));
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { profiles: { type: 'string' }, cpu: { type: 'boolean', default: false } },
});
MachineCpu.isAsked = values.cpu;
await run(positionals[0] ?? '', positionals[1] ?? '', values.profiles);
