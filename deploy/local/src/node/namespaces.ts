import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { LocalConfig } from '../config.js';
import { startTimeOf } from '../processes.js';
import { run } from '../run.js';
import type { State } from '../state.js';
import { addresses, nodeName } from './addresses.js';

const holder = 'node-holder';
const controllersRoot = '/sys/fs/cgroup';

/**
 * The container runtime, its shim, CNI and the kubelet have paths here that no option moves: inside, what is written
 * below these lies in memory, and what the machine has there can be read.
 */
const layered = ['/var/lib', '/var/log'];

/** What the kubelet wants to read, in place of machine-wide settings that it would else write. */
const kernelSettings = {
  'vm/overcommit_memory': '1',
  'vm/panic_on_oom': '0',
  'kernel/panic': '10',
  'kernel/panic_on_oops': '1',
  'kernel/keys/root_maxkeys': '1000000',
  'kernel/keys/root_maxbytes': '25000000',
};

/** Why this machine cannot have a real node; undefined when it can. */
export function whyNoRealNode({ isRoot, root, state, cache }: LocalConfig): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'a real node was only tried on Linux on x64';
  if (!isRoot) return 'a real node needs root';
  if (existsSync(join(controllersRoot, 'cgroup.controllers'))) return 'a real node was not yet tried with cgroup v2';
  if (!existsSync(join(controllersRoot, 'memory'))) return `there are no cgroups at ${controllersRoot}`;
  const hidden = [root, state, cache].find((folder) =>
    [...layered, '/run'].some((path) => folder.startsWith(`${path}/`)),
  );
  if (hidden) return `${hidden} could not be written from inside a real node`;
  if (!existsSync('/dev/loop-control')) return 'this kernel has no loop devices for volumes';
  return undefined;
}

/** The folder of this state's pods below each cgroup controller. */
export function cgroupOf(state: State): string {
  return `odoo-mesh-${createHash('sha256').update(state.folder).digest('hex').slice(0, 12)}`;
}

/**
 * A process that does nothing, in a mount, network and host name namespace of its own: all of the real node lives in
 * there, and what it mounts and routes goes when the last process in there does. Started once; resolves to its pid.
 */
export async function startNamespaces(state: State): Promise<number> {
  const { processes } = state;
  // A run that was killed in the middle has left them without what belongs into them.
  if (processes.alive(holder) && !existsSync(furnished(state))) await stopNamespaces(state);
  if (!processes.alive(holder)) {
    await removeTraces(state);
    mkdirSync(state.path('node'), { recursive: true, mode: 0o711 });
    makeCgroups(state);
    await processes.start({
      name: holder,
      command: '/usr/bin/unshare',
      args: ['--mount', '--net', '--uts', '--propagation', 'private', 'sleep', 'infinity'],
      env: { PATH: '/usr/bin:/bin' },
      cwd: '/',
    });
    await untilUnshared(processes.pid(holder)!);
    await furnish(state, processes.pid(holder)!);
    writeFileSync(furnished(state), '');
  }
  return processes.pid(holder)!;
}

/** The command and arguments that run a program of ours inside. */
export function inside(pid: number, command: string, args: readonly string[]): [string, string[]] {
  return [
    '/usr/bin/nsenter',
    [`--target=${pid}`, '--mount', '--net', '--uts', `--wd=${process.cwd()}`, '--', command, ...args],
  ];
}

/** True in a process that runs in the namespaces of this state's holder. */
export function isInside(state: State): boolean {
  const pid = state.processes.pid(holder);
  return pid !== undefined && existsSync(furnished(state)) && namespaceOf(pid) === namespaceOf(process.pid);
}

/** Ends everything that still runs inside, then the namespaces, and what they have on the machine. */
export async function stopNamespaces(state: State): Promise<void> {
  const pid = state.processes.pid(holder);
  if (pid) {
    const others = () => new Map(everyPid().map((one) => [one, namespaceOf(one)]));
    await untilGone(() => insideOf(pid, process.pid, others()));
    await state.processes.kill(holder);
  }
  await removeTraces(state);
}

/** SIGKILL to all containers of this state's pods; resolves when they are gone. */
export async function killPods(state: State): Promise<void> {
  await untilGone(() => {
    const roots = ['memory', 'pids'].map((controller) => join(controllersRoot, controller, cgroupOf(state)));
    return [...new Set(roots.flatMap(processesBelow))];
  });
}

async function untilGone(pids: () => number[]): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const left = pids().filter((pid) => startTimeOf(pid) !== undefined);
    if (left.length === 0) return;
    if (Date.now() > deadline) throw new Error(`processes of the real node survive SIGKILL: ${left.join(', ')}`);
    for (const pid of left) kill(pid);
    await pause(50);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** The program is itself only after unshare(1) has made the namespaces and become it. */
async function untilUnshared(pid: number): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (Date.now() < deadline) {
    if (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'sleep') return;
    await pause(10);
  }
  throw new Error('unshare(1) made no namespaces');
}

/** Mounts, addresses and settings that only the inside sees. */
async function furnish(state: State, pid: number): Promise<void> {
  const settings = state.path('node', 'settings');
  mkdirSync(settings, { recursive: true });
  const shown = (name: string, content: string, at: string) => {
    const file = join(settings, name);
    writeFileSync(file, content);
    return [file, at];
  };
  const binds = [
    ...Object.entries(kernelSettings).flatMap(([name, value]) =>
      shown(name.replaceAll('/', '_'), `${value}\n`, `/proc/sys/${name}`),
    ),
    // The machine's own servers of names cannot be reached from here: who asked them would wait for nothing.
    ...shown('hosts', `127.0.0.1 localhost\n${addresses.node} ${nodeName}\n`, '/etc/hosts'),
    ...shown('resolv.conf', `nameserver ${addresses.node}\n`, '/etc/resolv.conf'),
  ];
  const script = `
    mount --make-rshared /
    mount -t tmpfs -o mode=0755 tmpfs /run
    mkdir /run/lock /run/netns
    for path in ${layered.join(' ')}; do
      mkdir -p "/run/layers$path/upper" "/run/layers$path/work"
      mount -t overlay -o "lowerdir=$path,upperdir=/run/layers$path/upper,workdir=/run/layers$path/work" overlay "$path"
    done
    while [ $# -gt 0 ]; do mount --bind "$1" "$2"; shift 2; done
    hostname ${nodeName}
    ip link set lo up
    ip link add node0 type bridge
    ip address add ${addresses.node}/24 dev node0
    ip link set node0 up
    ip route add default dev node0
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables`;
  const [command, args] = inside(pid, '/bin/sh', ['-ec', script, 'sh', ...binds]);
  await run(command, args, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } });
}

function makeCgroups(state: State): void {
  for (const controller of controllers())
    mkdirSync(join(controllersRoot, controller, cgroupOf(state)), { recursive: true });
  // An empty set of cores or memory takes no process.
  for (const file of ['cpuset.cpus', 'cpuset.mems'])
    writeFileSync(
      join(controllersRoot, 'cpuset', cgroupOf(state), file),
      readFileSync(join(controllersRoot, 'cpuset', file)),
    );
}

function controllers(): string[] {
  return readdirSync(controllersRoot).filter((name) => name !== 'unified' && !name.includes(','));
}

function processesBelow(folder: string): number[] {
  const own = unlessGone(() => readFileSync(join(folder, 'cgroup.procs'), 'utf8'), '');
  const below = foldersIn(folder).flatMap((name) => processesBelow(join(folder, name)));
  return [...own.split('\n').filter(Boolean).map(Number), ...below];
}

function removeCgroup(folder: string): void {
  for (const name of foldersIn(folder)) removeCgroup(join(folder, name));
  unlessGone(() => rmdirSync(folder), undefined);
}

function foldersIn(folder: string): string[] {
  const entries = unlessGone(() => readdirSync(folder, { withFileTypes: true }), []);
  return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
}

/** The container runtime removes what is its own while we look at it: then its folder is gone, or its files have no device. */
function unlessGone<T>(look: () => T, otherwise: T): T {
  try {
    return look();
  } catch (error) {
    if (!['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return otherwise;
  }
}

async function removeTraces(state: State): Promise<void> {
  await killPods(state);
  const deadline = Date.now() + 10_000;
  // Also where we made none: the container runtime makes one in each hierarchy that it finds.
  for (const hierarchy of readdirSync(controllersRoot))
    for (;;)
      try {
        removeCgroup(join(controllersRoot, hierarchy, cgroupOf(state)));
        break;
      } catch (error) {
        // A process that was killed is counted until it was waited for.
        if ((error as NodeJS.ErrnoException).code !== 'EBUSY' || Date.now() > deadline) throw error;
        await pause(50);
      }
}

const furnished = (state: State) => {
  const pid = state.processes.pid(holder);
  return state.path('node', `furnished-${pid}-${pid ? startTimeOf(pid) : ''}`);
};

function namespaceOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`);
  } catch {
    return undefined;
  }
}

function everyPid(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger);
}

/**
 * Who shares the holder's mount namespace, but for the holder and for us. Nobody as long as that is the one we are in: a
 * holder that was stopped before it had made its own is in the machine's, with everything that runs there.
 */
export function insideOf(
  holderPid: number,
  ownPid: number,
  namespaces: ReadonlyMap<number, string | undefined>,
): number[] {
  const namespace = namespaces.get(holderPid);
  if (!namespace || namespace === namespaces.get(ownPid)) return [];
  return [...namespaces].filter(([pid, one]) => one === namespace && pid !== holderPid).map(([pid]) => pid);
}
