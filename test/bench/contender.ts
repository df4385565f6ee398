import { benches } from './benches.js';
import type { Answer, Order } from './contender-process.js';

/** One contender in a process of its own: what it allocates, compiles and waits for is nobody else's. */
function say(answer: Answer): void {
  process.send!(answer);
}

async function run(name: string, contender: string, profiles: string | undefined): Promise<void> {
  const bench = benches.find((one) => one.name === name);
  const chosen = bench?.contenders[contender];
  if (!chosen) throw new Error(`there is no contender ${contender} in bench ${name}`);
  let running: Awaited<ReturnType<typeof chosen.start>> | undefined;
  const obey = async (order: Order): Promise<void> => {
    if (order.kind === 'start') {
      running = await chosen.start(order.setting, profiles);
      return say({ kind: 'done' });
    }
    if (!running) throw new Error('the first order is to start');
    if (order.kind === 'round') return say({ kind: 'measured', measured: await running.round(order.n) });
    await running.stop();
    // Not process.exit: a CPU profile is written when the process ends by itself.
    process.disconnect();
  };
  process.on('message', (order) => {
    obey(order as Order).catch((error) => say({ kind: 'failed', message: error.stack ?? String(error) }));
  });
  // Without this one who lost his parent would stay.
  process.once('disconnect', () => setTimeout(() => process.exit(), 2_000).unref());
}

await run(process.argv[2] ?? '', process.argv[3] ?? '', process.argv[4]);
