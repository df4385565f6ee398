import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { at, completed, frame, frameAt, killAt, Program, statement } from './process-kit.js';
import { TcpProxy } from './tcp-proxy.js';
import { waitFor } from './wait-for.js';

interface Said {
  readonly said: string;
}

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'process-kit-'));
});
const programs: Program<Said, Said>[] = [];
afterEach(async () => {
  await Promise.all(programs.splice(0).map((one) => one.kill()));
  rmSync(folder, { recursive: true });
});

function start(text: string, environment = {}): Program<Said, Said> {
  const file = join(folder, 'program.mjs');
  writeFileSync(file, text);
  const program = Program.start<Said, Said>(file, environment);
  programs.push(program);
  return program;
}

const echo = `process.on('message', (one) => process.send(one)); process.send({ said: process.env.WORD });`;

test('a program gets its environment, answers, and ends as it is asked to', async () => {
  const program = start(`${echo} process.on('SIGTERM', () => process.exit(7));`, { WORD: 'ready' });
  await program.reported('its word', ({ said }) => said === 'ready');
  program.tell({ said: 'again' });
  await program.reported('the answer', ({ said }) => said === 'again');
  expect(await program.stop()).toEqual({ code: 7, signal: null });
  expect(program.alive).toBe(false);
});

test('a frozen program is silent until it is thawed; a killed one is gone', async () => {
  const program = start(echo, { WORD: 'ready' });
  await program.reported('its word', ({ said }) => said === 'ready');
  program.freeze();
  program.tell({ said: 'held' });
  await expect(program.reported('an answer', ({ said }) => said === 'held', 200)).rejects.toThrow('waited 200 ms');
  program.thaw();
  await program.reported('the answer', ({ said }) => said === 'held');
  expect(await program.kill()).toEqual({ code: null, signal: 'SIGKILL' });
});

test('who waits for a program that ends hears of it, with its last words', async () => {
  const program = start(`console.error('no such broker'); process.exitCode = 3; process.disconnect();`);
  await expect(program.reported('its word', () => true)).rejects.toThrow(/ended before its word\s.*no such broker/s);
});

const method = (classId: number, methodId: number, more = 4) => {
  const body = Buffer.alloc(4 + more);
  body.writeUInt16BE(classId, 0);
  body.writeUInt16BE(methodId, 2);
  const head = Buffer.from([1, 0, 1, 0, 0, 0, body.length]);
  return Buffer.concat([head, body, Buffer.from([0xce])]);
};

test('frames of AMQP are found wherever they stand, and not where the same bytes are a body', () => {
  const publish = method(60, 40);
  expect(frameAt(publish, 'basic.publish')).toBe(0);
  expect(frameAt(Buffer.concat([method(60, 80), publish]), 'basic.publish')).toBe(publish.length);
  expect(frameAt(publish.subarray(0, 11), 'basic.publish')).toBe(0);
  expect(frameAt(method(60, 80), 'basic.publish')).toBe(-1);
  expect(frameAt(Buffer.from([3, 0, 1, 0, 0, 0, 4, 0, 60, 0, 40, 0xce]), 'basic.publish')).toBe(-1);
});

let server: Server;
const arrived: string[] = [];

async function proxied(): Promise<TcpProxy> {
  arrived.length = 0;
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      arrived.push(chunk.toString());
      if (chunk.includes('COMMIT')) socket.write(Buffer.from('C\0\0\0\x0bCOMMIT\0'));
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return TcpProxy.before(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`);
}

const client = (port: number, text: string) =>
  `import { connect } from 'node:net';
   const socket = connect(${port}, '127.0.0.1', () => socket.write(${JSON.stringify(text)}));
   socket.on('error', () => {}).on('data', () => process.send({ said: 'done' }));`;

test.each([
  ['arrives', undefined, ['COMMIT']],
  ['is cut off', 'cut', []],
] as const)('a program dies in the moment of its COMMIT, which %s', async (_, then, expected) => {
  const proxy = await proxied();
  try {
    const program = start(client(proxy.port, 'COMMIT'));
    await killAt(program, [statement(proxy, 'COMMIT')], then);
    expect(program.reports).toEqual([]);
    // The connection's end is behind all that was on its way.
    await waitFor('the end of the connection', () => proxy.connections === 0);
    expect(arrived).toEqual(expected);
  } finally {
    await proxy.close();
    server.close();
  }
});

test('signs count one after the other, in their direction', async () => {
  const proxy = await proxied();
  try {
    let moments = 0;
    const moment = at([statement(proxy, 'INSERT'), completed(proxy, 'COMMIT')], () => {
      moments += 1;
      return 'cut';
    });
    const socket = connect(proxy.port, '127.0.0.1').on('error', () => {});
    const answers: string[] = [];
    socket.on('data', (chunk) => answers.push(chunk.toString()));
    socket.write('COMMIT');
    await waitFor('the first answer', () => answers.length === 1);
    expect(moments).toBe(0);
    socket.write('INSERT');
    await waitFor('the statement', () => arrived.length === 2);
    socket.write('COMMIT');
    await moment;
    await waitFor('the cut', () => socket.destroyed);
    expect([moments, arrived.length, answers.length]).toEqual([1, 3, 1]);
    expect(frame(proxy, 'basic.publish').seen(method(60, 40))).toBe(true);
  } finally {
    await proxy.close();
    server.close();
  }
});
