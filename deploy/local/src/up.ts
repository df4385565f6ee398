import { parseArgs } from 'node:util';
import type { LocalConfig } from './config.js';
import { firstInstance } from './first-instance.js';
import { firstTrace } from './first-trace.js';
import { untilInterrupted } from './interruption.js';
import { tryLock } from './lock.js';
import { programs } from './mesh-install.js';
import { meshPhase } from './mesh-phase.js';
import { monitoringPhase } from './monitoring-phase.js';
import { Forwarders } from './node/forwarders.js';
import { isInside } from './node/namespaces.js';
import { runInside } from './node/run-inside.js';
import { ownerOf, setOwner, upLock } from './owner.js';
import type { Phase, UpContext } from './phase.js';
import { ownChoices, type Prepared, Stack, type StackOptions } from './stack.js';
import { State } from './state.js';
import { duration, say } from './terminal.js';

const phases: readonly Phase[] = [
  { title: 'Servers', run: startStack },
  meshPhase,
  monitoringPhase,
  firstInstance,
  firstTrace,
];

export const up = {
  help: `npm run up [-- --once] [--yes]

Starts the local stack, then the mesh on it, and stays until Ctrl-C. What it started it stops at the end; a stack that
ran before (npm run stack) is used and left running.

  --once   stop as soon as everything was seen to work; the exit code says whether it did
  --yes    install and build what is missing without asking
  --help   this text

MESH_STATE, MESH_CACHE and the addresses of servers to use instead are as for npm run stack.`,

  async run(config: LocalConfig, args: readonly string[]): Promise<number> {
    const { values } = parseArgs({
      args: [...args],
      options: { once: { type: 'boolean', default: false }, yes: { type: 'boolean', default: false } },
    });
    const state = new State(config.state);
    if (isInside(state)) return await run(config, state, values, { choices: ownChoices(), realNode: true });

    const unlock = tryLock(upLock(state), 'npm run up');
    if (typeof unlock !== 'function')
      throw new Error(`npm run up already runs with this state folder (pid ${unlock.pid}); end it with: npm run down`);
    try {
      say('\nStack\n');
      const prepared = await new Stack(config, state).prepare(stackOptions(values.yes));
      if (!prepared.realNode) return await run(config, state, values, prepared);
      return await upInside(config, state, args);
    } finally {
      unlock();
    }
  },
};

interface Asked {
  readonly once: boolean;
  readonly yes: boolean;
}

const stackOptions = (sure: boolean): StackOptions => ({
  sure,
  durable: true,
  traces: true,
  monitoring: true,
  realNode: true,
});

/** The servers that somebody outside may want to talk to, by the names of their ports. */
const seenOutside = [
  ...programs,
  'traefik',
  'broker',
  'broker-management',
  'database',
  'kube-apiserver',
  's3',
  'jaeger',
  'otlp',
  'prometheus',
];

/** Everything runs in the namespaces of the real node; outside, its ports are opened on the loopback. */
async function upInside(config: LocalConfig, state: State, args: readonly string[]): Promise<number> {
  const forwarders = new Forwarders(state);
  const stack = new Stack(config, state);
  if (ownerOf(state) !== 'stack') setOwner(state, 'up');
  try {
    for (const name of seenOutside) {
      const kept = state.processes.alive(name);
      await forwarders.open(kept ? state.keptPort(name) : await state.port(name));
    }
    return await runInside(config, state, ['up', ...args]);
  } finally {
    await forwarders.close();
    await stack.stop();
  }
}

/** Starts all, stays until it is interrupted (or not, with `once`), and stops what it started. */
async function run(config: LocalConfig, state: State, { once, yes }: Asked, prepared: Prepared): Promise<number> {
  const context: UpContext = {
    config,
    state,
    prepared,
    sure: yes,
    env: undefined,
    mesh: undefined,
    made: undefined,
    summary: [],
    atEnd: [],
  };
  const start = Date.now();
  let allStopped = true;
  try {
    for (const phase of phases) {
      say(`\n${phase.title}\n`);
      await phase.run(context);
    }
    say(`\nReady after ${duration(Date.now() - start)}.\n`);
    for (const line of context.summary) say(line);
    if (!once) {
      say('\nCtrl-C stops it.');
      await untilInterrupted();
    }
  } finally {
    say('\nStopping\n');
    for (const { name, undo } of context.atEnd.reverse()) allStopped = (await stopPart(name, undo)) && allStopped;
  }
  return allStopped ? 0 : 1;
}

async function startStack(context: UpContext): Promise<void> {
  const { config, state } = context;
  const stack = new Stack(config, state);
  if (ownerOf(state) !== 'stack') setOwner(state, 'up'); // also what an `up` left that was killed
  context.atEnd.push({
    name: 'stack',
    async undo() {
      if (ownerOf(state) === 'stack') say('  The stack was started by npm run stack and stays; npm run down stops it.');
      else await stack.stop();
    },
  });
  context.env = await stack.start(stackOptions(context.sure), context.prepared);
  if (context.prepared.realNode) await offerPorts(context);
  context.summary.push(`Addresses    ${state.envFile}`, `Logs         ${state.path('logs')}`);
}

/** For those outside; what is not there yet is there when somebody asks. */
async function offerPorts({ state, atEnd }: UpContext): Promise<void> {
  const forwarders = new Forwarders(state);
  atEnd.push({ name: 'ports', undo: () => forwarders.close() });
  for (const name of seenOutside) await forwarders.offer(state.keptPort(name));
}

/** One part that fails to stop must not keep the others running. */
async function stopPart(name: string, undo: () => Promise<void>): Promise<boolean> {
  const start = Date.now();
  try {
    await undo();
    say(`✓ ${name.padEnd(16)} ${duration(Date.now() - start).padStart(7)}`);
    return true;
  } catch (error) {
    say(`✗ ${name.padEnd(16)} ${error instanceof Error ? error.message : error}`);
    return false;
  }
}
