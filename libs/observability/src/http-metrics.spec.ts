import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { TestMeters } from '#testing/test-meters.js';
import { waitFor } from '#testing/wait-for.js';
import { HttpMetrics } from './http-metrics.js';

let meters: TestMeters;
let server: Server;
let answer: (response: ServerResponse) => void;
let route: string | undefined;

beforeEach(async () => {
  meters = new TestMeters();
  const metrics = new HttpMetrics();
  server = createServer((incoming, response) =>
    metrics.measure(incoming, response, () => {
      // As the framework does it: the route is there when its handler is called.
      if (route) Object.assign(incoming, { route: { path: route } });
      answer(response);
    }),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  route = '/things/:id';
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await meters.remove();
});

function call(method = 'GET') {
  const { port } = server.address() as AddressInfo;
  const sent = request({ port, method, path: '/things/4711', agent: false });
  sent.on('error', () => {});
  sent.on('response', (response: IncomingMessage) => response.resume());
  sent.end();
  return sent;
}

const counted = (name: string) => waitFor(name, async () => (await meters.read())[name]);
const requests = 'mesh.http.requests';
const durations = 'mesh.http.request.duration.seconds';

test.each([
  [200, 'GET', '/things/:id', '/things/:id GET 2xx'],
  [404, 'DELETE', '/things/:id', '/things/:id DELETE 4xx'],
  [503, 'POST', undefined, 'unknown POST 5xx'],
  [200, 'PROPFIND', '/things/:id', '/things/:id other 2xx'],
])('%i to %s with the route %s is counted as %s', async (status, method, found, labels) => {
  route = found;
  answer = (response) => response.writeHead(status).end();
  call(method);
  expect(await counted(`${requests} ${labels}`)).toBe(1);
  expect(await counted(`${durations} ${labels.slice(0, -4)}`)).toBe(1);
});

test('a caller who leaves before the answer is counted as such, and not as a success', async () => {
  answer = (response) => response.write('the beginning');
  const left = call();
  left.on('response', () => left.destroy());
  expect(await counted(`${requests} /things/:id GET aborted`)).toBe(1);
});

test('a stream of events is counted and not measured', async () => {
  answer = (response) => response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' }).end('data: 1');
  call();
  expect(await counted(`${requests} /things/:id GET 2xx`)).toBe(1);
  expect(await meters.read()).not.toHaveProperty([`${durations} /things/:id GET`]);
});
