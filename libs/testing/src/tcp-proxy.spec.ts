import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { TcpProxy } from './tcp-proxy.js';
import { waitFor } from './wait-for.js';

let server: Server;
let accepted: Socket[];
let proxy: TcpProxy;

beforeEach(async () => {
  accepted = [];
  server = createServer((socket) => accepted.push(socket.on('error', () => {})));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  proxy = await TcpProxy.before(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

afterEach(async () => {
  await proxy.close();
  server.close();
});

async function caller(): Promise<Socket> {
  const already = accepted.length;
  const socket = connect(proxy.port, '127.0.0.1').on('error', () => {});
  await waitFor('the connection', () => accepted.length > already);
  return socket;
}

it('connections that are cut count no more from then on, and those that come after them do', async () => {
  for (let round = 0; round < 2; round++) {
    await caller();
    await caller();
    expect(proxy.connections).toBe(2);
    expect(proxy.cut()).toBe(2);
    expect(proxy.connections).toBe(0);
    expect(proxy.cut()).toBe(0);
  }
});

it.each(['resetAndDestroy', 'destroy', 'end'] as const)('a connection ends when its caller does: %s', async (way) => {
  const socket = await caller();
  socket[way]();
  await waitFor('no connection', () => proxy.connections === 0);
});

it.each(['resetAndDestroy', 'destroy', 'end'] as const)('a connection ends when the server does: %s', async (way) => {
  await caller();
  accepted[0]![way]();
  await waitFor('no connection', () => proxy.connections === 0);
});

it('tells by its port at the server of each connection that ended', async () => {
  const ended: number[] = [];
  proxy.onEnd = (port) => ended.push(port);
  await caller();
  const second = await caller();
  const ports = accepted.map(({ remotePort }) => remotePort!);
  second.destroy();
  await waitFor('the second', () => ended.length === 1);
  proxy.cut();
  await waitFor('the first', () => ended.length === 2);
  expect(ended).toEqual(ports.reverse());
});
