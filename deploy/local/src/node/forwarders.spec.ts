import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { State } from '../state.js';
import { Forwarders } from './forwarders.js';

let folder: string;
let server: Server;
let forwarders: Forwarders;
let handle: (client: Socket) => void;
let port: number;

beforeEach(async () => {
  folder = mkdtempSync('/tmp/fw-');
  server = createServer({ allowHalfOpen: true }, (client) => {
    client.on('error', () => {});
    handle(client);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  port = (server.address() as AddressInfo).port;
  forwarders = new Forwarders(new State(folder));
});
afterEach(async () => {
  await forwarders.close();
  server.close();
  rmSync(folder, { recursive: true });
});

/** The socket of the inside is the way; here both sides are one machine, so it is dialled directly. */
async function dial(): Promise<Socket> {
  await forwarders.offer(port);
  return connect({ path: `${folder}/node/ports/${port}`, allowHalfOpen: true });
}

it('carries both ways, also after one side has said all it has to say', async () => {
  handle = async (client) => client.end(`heard ${await text(client)}`);
  const client = await dial();
  client.end('hello');
  expect(await text(client)).toBe('heard hello');
});

it('a side that breaks breaks the other', async () => {
  handle = (client) => client.resetAndDestroy();
  const client = await dial();
  client.write('hello');
  expect(await text(client)).toBe('');
});

it('a port nobody serves yet is refused to whoever comes, and works for who comes later', async () => {
  const gone = once(server.close(), 'close');
  await gone;
  const early = await dial();
  expect(await text(early)).toBe('');
  handle = (client) => client.end('here');
  await once(server.listen(port, '127.0.0.1'), 'listening');
  expect(await text(connect({ path: `${folder}/node/ports/${port}` }))).toBe('here');
});

it('offered again after a run that died, it takes the socket that was left', async () => {
  handle = (client) => client.end('here');
  await forwarders.offer(port);
  const again = new Forwarders(new State(folder));
  await again.offer(port);
  expect(await text(connect({ path: `${folder}/node/ports/${port}` }))).toBe('here');
  await again.close();
});
