import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { killProcess, Processes, type ProcessSpec, startProcess, startTimeOf } from './processes.js';
import { waitUntil } from './wait.js';

let state: string;
let processes: Processes;
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), 'processes-'));
  processes = new Processes(state);
});
afterEach(async () => {
  for (const name of processes.names()) await processes.kill(name);
  rmSync(state, { recursive: true, force: true });
});

const shell = (script: string): ProcessSpec => ({
  name: 'sleeper',
  command: '/bin/sh',
  args: ['-c', script],
  env: { PATH: '/usr/bin:/bin' },
  cwd: '/',
});
const sleeper = shell('exec sleep 1000');
const until = (check: () => boolean) => waitUntil('not so', async () => check(), { withinMs: 10_000, everyMs: 20 });

describe('a background process', () => {
  test('is known to another command by the folder alone', async () => {
    await processes.start(sleeper);
    expect(new Processes(state).pid('sleeper')).toBe(processes.pid('sleeper'));
    await new Processes(state).stop('sleeper');
    expect(processes.alive('sleeper')).toBe(false);
  });

  test('is not started twice', async () => {
    await processes.start(sleeper);
    const pid = processes.pid('sleeper');
    await processes.start(sleeper);
    expect(processes.pid('sleeper')).toBe(pid);
  });

  test('writes to its log', async () => {
    await processes.start(shell('echo one; echo two >&2; exec sleep 1000'));
    await until(() => processes.lastLines('sleeper') === 'one\ntwo');
  });

  test('inherits nothing of our environment', async () => {
    await processes.start(shell(`env > ${state}/env; exec sleep 1000`));
    await until(() => existsSync(`${state}/env`) && readFileSync(`${state}/env`, 'utf8').includes('PATH='));
    expect(readFileSync(`${state}/env`, 'utf8')).not.toContain('HOME=');
  });

  test('that cannot be executed is an error', async () => {
    await expect(processes.start({ ...sleeper, command: '/no/such/program' })).rejects.toThrow('ENOENT');
  });

  test('that does not listen to its signal is killed after its time', async () => {
    await processes.start(shell(`trap '' TERM; touch ${state}/deaf; while :; do sleep 0.1; done`));
    await until(() => existsSync(`${state}/deaf`));
    await processes.stop('sleeper', 200);
    expect(processes.alive('sleeper')).toBe(false);
  });

  test('is started again with the same arguments after a crash', async () => {
    await processes.start(sleeper);
    const pid = processes.pid('sleeper') ?? 0;
    await killProcess(state, 'sleeper');
    expect(startTimeOf(pid)).toBeUndefined();
    await startProcess(state, 'sleeper');
    const commandLine = () => readFileSync(`/proc/${processes.pid('sleeper')}/cmdline`, 'utf8');
    await until(() => commandLine() === 'sleep\u00001000\u0000');
  });

  test.each([
    ['are ended by its next start', undefined, false],
    ['outlive it, where that is said', true, true],
  ])('whose children %s', async (_, childrenOutlive, expected) => {
    const parent = `setsid sleep 1000 & echo $! > ${state}/child; exec sleep 1000`;
    await processes.start({ ...shell(parent), ...(childrenOutlive && { childrenOutlive }) });
    await until(() => existsSync(`${state}/child`) && readFileSync(`${state}/child`, 'utf8').endsWith('\n'));
    const child = Number(readFileSync(`${state}/child`, 'utf8'));
    try {
      await until(() => readFileSync(`/proc/${child}/comm`, 'utf8') === 'sleep\n');
      await killProcess(state, 'sleeper');
      expect(startTimeOf(child)).toBeDefined();
      await processes.start({ ...sleeper, ...(childrenOutlive && { childrenOutlive }) });
      expect(startTimeOf(child) !== undefined).toBe(expected);
    } finally {
      if (startTimeOf(child)) process.kill(child, 'SIGKILL');
    }
  });

  test('whose pid went to a stranger is taken for dead, and the stranger is left alone', async () => {
    await processes.start(sleeper);
    const file = join(state, 'run', 'sleeper.json');
    const record = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...record, startTime: String(Number(record.startTime) - 1) }));

    expect(processes.alive('sleeper')).toBe(false);
    await processes.stop('sleeper');
    await processes.kill('sleeper');
    expect(startTimeOf(record.pid)).toBe(record.startTime);
    process.kill(record.pid, 'SIGKILL');
  });

  test('that was started by a command killed before it noted the pid is ended by the next start', async () => {
    await processes.start(sleeper);
    const unnoted = processes.pid('sleeper') ?? 0;
    await until(() => readFileSync(`/proc/${unnoted}/cmdline`, 'utf8').startsWith('sleep'));
    rmSync(join(state, 'run', 'sleeper.json'));

    await processes.start(sleeper);
    expect(startTimeOf(unnoted)).toBeUndefined();
    expect(processes.alive('sleeper')).toBe(true);
  });
});

test('a zombie counts as gone', async () => {
  // The shell becomes a program that never collects its child.
  await processes.start(shell(`sleep 0 & echo $! > ${state}/child; exec sleep 1000`));
  await until(() => existsSync(`${state}/child`) && readFileSync(`${state}/child`, 'utf8').endsWith('\n'));
  const child = Number(readFileSync(`${state}/child`, 'utf8'));
  await until(() => readFileSync(`/proc/${child}/stat`, 'utf8').includes(') Z '));
  expect(startTimeOf(child)).toBeUndefined();
});
