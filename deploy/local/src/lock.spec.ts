import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { lock, lockHolder, tryLock } from './lock.js';
import { startTimeOf } from './processes.js';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'lock-'));
  file = join(folder, 'lock');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('a lock', () => {
  test('has one holder, whom the other is told', () => {
    const unlock = tryLock(file, 'building');
    expect(tryLock(file, 'building too')).toMatchObject({ pid: process.pid, purpose: 'building' });
    (unlock as () => void)();
    expect(lockHolder(file)).toBeUndefined();
    expect(typeof tryLock(file, 'building too')).toBe('function');
  });

  test('is waited for', async () => {
    const unlock = tryLock(file, 'building') as () => void;
    const told: string[] = [];
    const waiting = lock(file, 'next', (holder) => {
      told.push(holder.purpose);
      unlock();
    });
    (await waiting)();
    expect(told).toEqual(['building']);
  });

  test('of a killed process is taken over', async () => {
    const child = spawn('sleep', ['1000']);
    await once(child, 'spawn');
    const pid = child.pid ?? 0;
    writeFileSync(file, JSON.stringify({ pid, startTime: startTimeOf(pid), purpose: 'building' }));
    expect(lockHolder(file)?.pid).toBe(pid);

    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(typeof tryLock(file, 'next')).toBe('function');
    expect(readdirSync(folder)).toEqual(['lock']);
  });
});
