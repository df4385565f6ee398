import { once } from 'node:events';
import { request } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Log } from '#observability/index.js';
import { FindNotice } from '../application/find-notice.js';
import { Sites } from '../application/ports.js';
import type { Site } from '../domain/site.js';
import { PagesServer } from './pages-server.js';

/** Our own port, so that every state can be had, and a database that is away too. */
class KnownSites extends Sites {
  readonly known = new Map<string, Omit<Site, 'host'>>();
  readonly moved = new Map<string, string>();
  away = false;

  async at(host: string): Promise<Site | undefined> {
    if (this.away) throw new Error('the database is away');
    const site = this.known.get(host);
    return site && { host, ...site };
  }

  async nowOf(host: string): Promise<string | undefined> {
    return this.moved.get(host);
  }

  async learn(): Promise<void> {}
  async end(): Promise<void> {}
}

let sites: KnownSites;
let server: PagesServer;
let port: number;

beforeEach(async () => {
  sites = new KnownSites();
  const log = new Log({ service: 'edge', level: 'error' });
  server = new PagesServer(new FindNotice(sites, log), log);
  await server.listen(0, '127.0.0.1');
  port = server.port;
});
afterEach(() => server.close());

async function ask(
  host: string,
  { method = 'GET', path = '/', accept, body }: { method?: string; path?: string; accept?: string; body?: string } = {},
) {
  const sent = request({
    port,
    method,
    path,
    headers: { host, ...(accept && { accept }), ...(body && { 'content-length': Buffer.byteLength(body) }) },
    agent: false,
  });
  sent.end(body);
  const [response] = await once(sent, 'response');
  return { status: response.statusCode, headers: response.headers, body: await text(response) };
}

const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8';

it('a browser gets a page that loads nothing, looks again where waiting helps, and is kept nowhere', async () => {
  sites.known.set('acme.example.com', { state: 'provisioning', reason: null });
  const { status, headers, body } = await ask('acme.example.com', { accept: browser });
  expect(status).toBe(503);
  expect(headers).toMatchObject({
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'retry-after': '5',
    vary: 'Accept',
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  });
  expect(headers['content-security-policy']).toMatch(/^default-src 'none';style-src 'sha256-[\w+/=]+';/);
  expect(headers['x-powered-by']).toBeUndefined();
  expect(body).toMatch(/^<!doctype html>\n<html lang="en">/);
  expect(body).toContain('<meta http-equiv="refresh" content="5">');
  expect(body).toMatch(/<main>\n<h1>Odoo is starting<\/h1>/);
  expect(body).not.toMatch(/\b(?:src|href)=/);
});

it('a page that no waiting helps does not load itself again', async () => {
  sites.known.set('acme.example.com', { state: 'stopped', reason: 'requested' });
  const { status, headers, body } = await ask('acme.example.com', { accept: browser });
  expect([status, headers['retry-after']]).toEqual([503, undefined]);
  expect(body).not.toContain('http-equiv');
  expect(body).toContain('Its owner can start it again.');
});

it.each(['application/json', 'application/problem+json', 'application/json, text/html;q=0.5'])(
  'a client that accepts %s gets a problem it can read',
  async (accept) => {
    sites.known.set('acme.example.com', { state: 'suspended', reason: 'unpaid' });
    const { status, headers, body } = await ask('acme.example.com', { accept });
    expect([status, headers['content-type']]).toEqual([402, 'application/problem+json']);
    expect(JSON.parse(body)).toEqual({
      type: 'urn:odoo-mesh:problem:unpaid',
      code: 'unpaid',
      status: 402,
      title: 'Odoo is suspended',
      detail: 'It is suspended because an invoice is not paid. All of its data is there.',
      next: 'It runs again when the invoice is paid.',
    });
  },
);

it.each(['*/*', 'image/png', undefined])('who accepts %s gets the page', async (accept) => {
  const { headers } = await ask('acme.example.com', accept ? { accept } : {});
  expect(headers['content-type']).toBe('text/html; charset=utf-8');
});

it.each(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'])(
  '%s of any path is answered alike, and health and metrics are not here',
  async (method) => {
    sites.known.set('acme.example.com', { state: 'maintenance', reason: 'upgrade' });
    for (const path of ['/', '/metrics', '/readyz', '/web/database/manager', '/%', '/a/../b', '*']) {
      const { status, body } = await ask('acme.example.com', { method, path, body: method === 'GET' ? '' : 'ignored' });
      expect([path, status, body.includes('Under maintenance')]).toEqual([path, 503, true]);
    }
  },
);

it('HEAD has the headers of GET and no body', async () => {
  const [get, head] = await Promise.all([ask('a.example'), ask('a.example', { method: 'HEAD' })]);
  const { date: _, ...headers } = get.headers;
  expect(head).toMatchObject({ status: 404, headers, body: '' });
});

it('a websocket is answered, not left open', async () => {
  const socket = connect(port, '127.0.0.1');
  socket.end('GET /websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  expect(await text(socket)).toMatch(/^HTTP\/1.1 404 /);
});

it('a body that is announced is not asked for', async () => {
  const socket = connect(port, '127.0.0.1');
  socket.write('POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n');
  expect(await text(socket)).toMatch(/^HTTP\/1.1 404 .*\r\nConnection: close\r\n/s);
});

it('nothing that came in is on the page', async () => {
  const probe = '<script>alert(1)</script>';
  const { status, body } = await ask(`${probe}.example.com`, {
    path: `/?q=${encodeURIComponent(probe)}`,
    accept: browser,
  });
  expect(status).toBe(404);
  expect(body).not.toMatch(/alert|script/);
});

it('who cannot look says so, and not that nobody is there', async () => {
  sites.away = true;
  const { status, headers, body } = await ask('acme.example.com', { accept: 'application/json' });
  expect([status, headers['retry-after'], JSON.parse(body).code]).toEqual([503, '10', 'untold']);
});

describe('a host that an instance had before', () => {
  beforeEach(() => void sites.moved.set('old.example.com', 'new.example.com'));

  it.each(['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND'])(
    '%s is led to the new one, with path, query and port, and that is kept nowhere',
    async (method) => {
      const path = '/web/login?redirect=%2Fodoo&debug=1';
      const body = method === 'POST' ? 'ignored' : '';
      const answer = await ask('OLD.example.com.:8443', { method, path, body, accept: browser });
      expect(answer).toMatchObject({
        status: 308,
        headers: { location: `//new.example.com:8443${path}`, 'cache-control': 'no-store', 'content-length': '0' },
        body: '',
      });
      expect(answer.headers).not.toHaveProperty('strict-transport-security');
    },
  );

  it.each([
    ['//evil.example/x', '//new.example.com/evil.example/x'],
    ['///evil.example', '//new.example.com/evil.example'],
    ['/\\evil.example', '//new.example.com/evil.example'],
    ['/%2f%2Fevil.example', '//new.example.com/%2f%2Fevil.example'],
    ['/%5C%5cevil.example', '//new.example.com/%5C%5cevil.example'],
    ['/%0d%0aLocation:%20//evil.example', '//new.example.com/%0d%0aLocation:%20//evil.example'],
    ['http://evil.example/', '//new.example.com/'],
    ['//old.example.com@evil.example/', '//new.example.com/old.example.com@evil.example/'],
    ['*', '//new.example.com/'],
  ])('%s leads nowhere else', async (path, location) => {
    expect(await ask('old.example.com', { path })).toMatchObject({ status: 308, headers: { location } });
  });

  it('is somebody else’s when they have it', async () => {
    sites.known.set('old.example.com', { state: 'stopped', reason: 'requested' });
    expect(await ask('old.example.com')).toMatchObject({ status: 503 });
  });

  it.each(['evil.example/x', 'a b', 'new.example.com\r\nX: y', "a'b", ''])(
    'leads nowhere when what stands in the table is %j',
    async (now) => {
      sites.moved.set('old.example.com', now);
      const { status, headers } = await ask('old.example.com');
      expect([status, headers.location]).toEqual([404, undefined]);
    },
  );

  it('is not told as unknown while nobody can look', async () => {
    sites.away = true;
    expect(await ask('old.example.com')).toMatchObject({ status: 503 });
  });
});
