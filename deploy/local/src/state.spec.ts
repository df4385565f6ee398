import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { isOurs, State } from './state.js';

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'state-'));
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));
const open = () => new State(join(parent, 'state'));

describe('the state folder', () => {
  test('keeps passwords, for its owner only', () => {
    expect(open().secret('broker')).toBe(open().secret('broker'));
    expect(open().secret('broker')).not.toBe(open().secret('database'));
    expect(statSync(join(parent, 'state', 'secrets.json')).mode & 0o077).toBe(0);
  });

  test('lets other users pass through, whatever the umask', () => {
    const umask = process.umask(0o077);
    open();
    process.umask(umask);
    expect(statSync(join(parent, 'state')).mode & 0o777).toBe(0o711);
  });

  test('keeps a port until somebody else has it', async () => {
    const port = await open().port('broker');
    expect(await open().port('broker')).toBe(port);
    expect(await open().port('database')).not.toBe(port);

    const stranger = createServer().listen(port, '127.0.0.1');
    await once(stranger, 'listening');
    const other = await open().port('broker');
    stranger.close();
    expect(other).not.toBe(port);
  });

  test('is never a folder that holds other things, so that a wipe deletes only ours', () => {
    writeFileSync(join(parent, 'thesis.txt'), '');
    expect(() => new State(parent)).toThrow('holds other things');
    expect(isOurs(parent)).toBe(false);
    expect(existsSync(join(parent, 'thesis.txt'))).toBe(true);
  });
});
