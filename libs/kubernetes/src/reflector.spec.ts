import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { TestMeters } from '#testing/test-meters.js';
import { waitFor } from '#testing/wait-for.js';
import { KubernetesClient } from './client.js';
import { Reflector, type ReflectorOptions } from './reflector.js';
import { json, type ScriptedServer, type SeenRequest, startServer, status } from './scripted-server.fixture.js';

type Answer = (response: ServerResponse, request: SeenRequest) => void;

let list: Answer;
let watch: Answer;
let server: ScriptedServer;
let client: KubernetesClient;
let reflectors: Reflector<string>[];
let told: string[];
let troubles: string[];

beforeEach(async () => {
  list = (response) => page(response, '10', { a: '1' });
  watch = (response) => void response.writeHead(200).flushHeaders();
  server = await startServer((request, response) =>
    request.query.has('watch') ? watch(response, request) : list(response, request),
  );
  client = new KubernetesClient({ kubeconfig: server.kubeconfig() });
  reflectors = [];
  told = [];
  troubles = [];
});

afterEach(async () => {
  for (const reflector of reflectors) reflector.stop();
  await client.close();
  await server.close();
});

function start(options: Partial<ReflectorOptions<string>> = {}, by = client): Reflector<string> {
  const reflector = new Reflector<string>(by, {
    kind: 'ConfigMap',
    namespace: 'ns',
    strip: (object) => object.metadata!.resourceVersion!,
    onChange: (key, object, previous) => {
      told.push(`${key} ${previous ?? '-'} → ${object ?? 'gone'}`);
    },
    onTrouble: (what, error) => troubles.push(`${what}: ${(error as Error).message}`),
    backoff: { leastMs: 2, mostMs: 20 },
    ...options,
  });
  reflectors.push(reflector);
  reflector.start();
  return reflector;
}

const object = (name: string, resourceVersion: string) => ({ metadata: { name, namespace: 'ns', resourceVersion } });

function page(response: ServerResponse, resourceVersion: string, objects: Record<string, string>, next?: string) {
  json(response, 200, {
    metadata: { resourceVersion, ...(next && { continue: next }) },
    items: Object.entries(objects).map(([name, version]) => object(name, version)),
  });
}

const line = (type: string, name: string, version: string) =>
  `${JSON.stringify({ type, object: object(name, version) })}\n`;
const bookmark = (resourceVersion: string) =>
  `${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'ConfigMap', metadata: { resourceVersion } } })}\n`;
const lists = () => server.requests.filter(({ query }) => !query.has('watch'));
const watches = () => server.requests.filter(({ query }) => query.has('watch'));

describe('the store', () => {
  it('holds what was listed, page after page, and then what the watch says', async () => {
    list = (response, { query }) =>
      query.has('continue') ? page(response, '10', { b: '2' }) : page(response, '10', { a: '1' }, 'more');
    watch = (response) =>
      response
        .writeHead(200)
        .write(line('ADDED', 'c', '11') + line('MODIFIED', 'a', '12') + line('DELETED', 'b', '13') + bookmark('20'));
    const reflector = start({ labelSelector: 'app=odoo', pageSize: 1 });
    await reflector.synced;
    await waitFor('the deletion', () => told.length === 5);
    expect(told).toEqual(['ns/a - → 1', 'ns/b - → 2', 'ns/c - → 11', 'ns/a 1 → 12', 'ns/b 2 → gone']);
    expect([...reflector.keys()].map((key) => [key, reflector.get(key)])).toEqual([
      ['ns/a', '12'],
      ['ns/c', '11'],
    ]);
    expect(lists().map(({ query }) => Object.fromEntries(query))).toEqual([
      { limit: '1', labelSelector: 'app=odoo' },
      { limit: '1', labelSelector: 'app=odoo', continue: 'more' },
    ]);
    const { timeoutSeconds, ...query } = Object.fromEntries(watches()[0]!.query);
    expect(query).toEqual({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: '10',
      labelSelector: 'app=odoo',
    });
    expect(Number(timeoutSeconds)).toBeGreaterThanOrEqual(300);
    expect(Number(timeoutSeconds)).toBeLessThan(600);
    expect(troubles).toEqual([]);
  });

  it('reads events that come in pieces', async () => {
    watch = (response) => {
      response.writeHead(200);
      const bytes = Buffer.from(line('ADDED', 'ü', '11') + line('ADDED', 'c', '12'));
      let sent = 0;
      const next = () => {
        if (sent >= bytes.length) return;
        response.write(bytes.subarray(sent, sent + 7), () => setImmediate(next));
        sent += 7;
      };
      next();
    };
    start();
    await waitFor('both', () => told.length === 3);
    expect(told.slice(1)).toEqual(['ns/ü - → 11', 'ns/c - → 12']);
  });

  it('of all namespaces tells equal names apart', async () => {
    list = (response) =>
      json(response, 200, {
        metadata: { resourceVersion: '10' },
        items: ['n1', 'n2'].map((namespace) => ({ metadata: { name: 'a', namespace, resourceVersion: '1' } })),
      });
    const reflector = new Reflector<string>(client, {
      kind: 'ConfigMap',
      strip: () => '',
      onChange: () => {},
      onTrouble: () => {},
    });
    reflectors.push(reflector);
    reflector.start();
    await reflector.synced;
    expect([...reflector.keys()]).toEqual(['n1/a', 'n2/a']);
    expect(lists()[0]!.path).toBe('/api/v1/configmaps');
  });
});

describe('comes back', () => {
  it('without listing again, from the last event or bookmark, when the server ends the watch', async () => {
    watch = (response) => {
      response.writeHead(200);
      if (watches().length === 1) response.end(line('MODIFIED', 'a', '11') + bookmark('50'));
      else if (watches().length === 2) response.end(line('MODIFIED', 'a', '60'));
    };
    start();
    await waitFor('the third watch', () => watches().length === 3);
    expect(watches().map(({ query }) => query.get('resourceVersion'))).toEqual(['10', '50', '60']);
    expect(lists()).toHaveLength(1);
    expect(told).toEqual(['ns/a - → 1', 'ns/a 1 → 11', 'ns/a 11 → 60']);
    expect(troubles).toEqual([]);
  });

  const gone: { how: string; answer: Answer }[] = [
    { how: 'by HTTP', answer: (response) => json(response, 410, status(410, 'Expired', 'too old')) },
    {
      how: 'by an event',
      answer: (response) =>
        response
          .writeHead(200)
          .end(`${JSON.stringify({ type: 'ERROR', object: status(410, 'Expired', 'too old') })}\n`),
    },
  ];
  it.each(gone)(
    'by listing again when its place is no longer kept ($how): what went meanwhile is told',
    async ({ answer }) => {
      list = (response) =>
        lists().length === 1
          ? page(response, '10', { a: '1', b: '2', c: '3' })
          : page(response, '90', { a: '1', c: '80', d: '85' });
      watch = (response, request) =>
        watches().length === 1 ? answer(response, request) : void response.writeHead(200).flushHeaders();
      const reflector = start();
      await waitFor('the second watch', () => watches().length === 2);
      expect(told.slice(3)).toEqual(['ns/c 3 → 80', 'ns/d - → 85', 'ns/b 2 → gone']);
      expect([...reflector.keys()]).toEqual(['ns/a', 'ns/c', 'ns/d']);
      expect(watches()[1]!.query.get('resourceVersion')).toBe('90');
    },
  );

  const faults: { what: string; answer: Answer }[] = [
    { what: 'a 500', answer: (response) => json(response, 500, status(500, 'InternalError', 'etcd')) },
    {
      what: 'a 429',
      answer: (response) => json(response, 429, status(429, 'TooManyRequests', 'slow'), { 'retry-after': '0' }),
    },
    { what: 'a 403', answer: (response) => json(response, 403, status(403, 'Forbidden', 'not yet')) },
    { what: 'a cut connection', answer: (response) => response.destroy() },
    { what: 'an answer that is no list', answer: (response) => response.writeHead(200).end('<html>') },
  ];
  it.each(faults)('after $what on the first list, three times', async ({ answer }) => {
    const good = list;
    list = (response, request) => (lists().length <= 3 ? answer(response, request) : good(response, request));
    await start().synced;
    expect(told).toEqual(['ns/a - → 1']);
  });

  it.each(faults)('after $what on the watch, and says so', async ({ answer }) => {
    watch = (response, request) =>
      watches().length <= 2 ? answer(response, request) : void response.writeHead(200).write(line('ADDED', 'b', '11'));
    start();
    await waitFor('the event', () => told.length === 2);
    expect(told[1]).toBe('ns/b - → 11');
    expect(troubles).toHaveLength(2);
    expect(lists()).toHaveLength(1);
  });

  it.each(['not json hunter2\n', '{"type":"ADDED"}\n', '{"type":"ADDED","object":{}}\n', 'null\n'])(
    'after a line that is no event (%j), without quoting it',
    async (bad) => {
      watch = (response) => {
        response.writeHead(200).write(watches().length === 1 ? bad : line('ADDED', 'b', '11'));
      };
      start();
      await waitFor('the event', () => told.length === 2);
      expect(troubles).toHaveLength(1);
      expect(troubles[0]).not.toContain('hunter2');
    },
  );

  it('after the middle of an event was cut, which is not taken for one', async () => {
    watch = (response) => {
      response.writeHead(200);
      if (watches().length === 1) response.write(line('ADDED', 'b', '11').slice(0, 30), () => response.destroy());
      else response.write(line('ADDED', 'b', '11'));
    };
    start();
    await waitFor('the event', () => told.length === 2);
    expect(watches()[1]!.query.get('resourceVersion')).toBe('10');
  });

  it('from silence, by listing again: the connection may be dead, or our place ahead of a restored server', async () => {
    list = (response) =>
      lists().length === 1 ? page(response, '1000', { a: '999' }) : page(response, '10', { a: '5' });
    start({ silenceMs: 50 });
    await waitFor('the second watch', () => watches().length === 2);
    expect(watches().map(({ query }) => query.get('resourceVersion'))).toEqual(['1000', '10']);
    expect(told).toEqual(['ns/a - → 999', 'ns/a 999 → 5']);
    expect(troubles[0]).toContain('nothing was heard for 50 ms');
  });

  it('from a watch that speaks, however long it is, without a list', async () => {
    watch = (response) => {
      response.writeHead(200).flushHeaders();
      let version = 20;
      const timer = setInterval(() => response.write(bookmark(String(version++))), 20);
      response.on('close', () => clearInterval(timer));
    };
    const reflector = start({ silenceMs: 100 });
    await reflector.synced;
    const until = performance.now() + 300;
    await waitFor('three silences', () => performance.now() > until);
    expect([lists().length, watches().length]).toEqual([1, 1]);
  });

  it('as late as a throttling server asks', async () => {
    const times: number[] = [];
    watch = (response) => {
      times.push(performance.now());
      json(response, 429, status(429, 'TooManyRequests', 'slow'), { 'retry-after': '0.3' });
    };
    start();
    await waitFor('the second watch', () => times.length >= 2);
    expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(299);
  });

  it('without listing again, however often nobody answered: that says nothing about its place', async () => {
    watch = (response, { raw }) =>
      watches().length <= 7 ? void raw.socket.destroy() : void response.writeHead(200).write(line('ADDED', 'b', '11'));
    start();
    await waitFor('the event', () => told.length === 2);
    expect(lists()).toHaveLength(1);
  });

  it('soon after the server is back, however long it was away', async () => {
    const times: number[] = [];
    watch = (response, { raw }) => {
      if (times.push(performance.now()) <= 7) raw.socket.destroy();
      else json(response, 503, status(503, 'ServiceUnavailable', 'starting'));
    };
    start({ backoff: { leastMs: 5, mostMs: 60_000 } });
    await waitFor('one more', () => times.length >= 9);
    expect(times[7]! - times[6]!).toBeGreaterThanOrEqual(300);
    expect(times[8]! - times[7]!).toBeLessThan(150);
  });

  it('by listing again when the same place is refused again and again', async () => {
    watch = (response) => json(response, 504, status(504, 'Timeout', 'Too large resource version'));
    start();
    await waitFor('the second list', () => lists().length >= 2);
    const before = server.requests.lastIndexOf(lists()[1]!) - 1;
    expect(before).toBe(5);
  });

  it('ever more slowly, also while the server ends each watch in order but at once', async () => {
    const times: number[] = [];
    watch = (response) => {
      times.push(performance.now());
      response.writeHead(200).end();
    };
    start({ backoff: { leastMs: 20, mostMs: 10_000 } });
    await waitFor('the fourth watch', () => times.length >= 4);
    // Half of 20·2, 20·4, 20·8 at least; timers may be a millisecond early.
    const [first, second, third, fourth] = times as [number, number, number, number];
    expect(second - first).toBeGreaterThanOrEqual(19);
    expect(third - second).toBeGreaterThanOrEqual(39);
    expect(fourth - third).toBeGreaterThanOrEqual(79);
    expect(troubles[0]).toContain('ended without a word');
  });

  it('quickly again after a watch that worked', async () => {
    const times: number[] = [];
    watch = (response) => {
      if (times.push(performance.now()) === 7) response.writeHead(200).end(bookmark('50'));
      else json(response, 500, {});
    };
    start({ backoff: { leastMs: 5, mostMs: 60_000 } });
    await waitFor('one more', () => times.length >= 8);
    expect(times[6]! - times[5]!).toBeGreaterThanOrEqual(150);
    expect(times[7]! - times[6]!).toBeLessThan(100);
  });
});

it('what went wrong is measured by kind', async () => {
  const meters = new TestMeters();
  try {
    list = (response) => page(response, '10', { a: '1' });
    watch = (response) =>
      watches().length === 1
        ? json(response, 410, status(410, 'Expired', 'too old'))
        : void response.writeHead(200).write(line('ADDED', 'b', '11'));
    const measured = new KubernetesClient({ kubeconfig: server.kubeconfig() });
    start(
      {
        onChange: (key) => {
          told.push(key);
          if (key === 'ns/b') throw new Error('odd');
        },
      },
      measured,
    );
    await waitFor('the event', () => told.length === 2);
    expect(await meters.read()).toEqual({
      'kubernetes.client.call.seconds list ConfigMap 200': 2,
      'kubernetes.client.call.seconds watch ConfigMap 200': 1,
      'kubernetes.client.call.seconds watch ConfigMap 410': 1,
      'kubernetes.reflector.failures ConfigMap Gone': 1,
      'kubernetes.reflector.handler_errors ConfigMap': 1,
      'kubernetes.reflector.lists ConfigMap': 2,
    });
    await measured.close();
  } finally {
    await meters.remove();
  }
});

describe('handlers', () => {
  it('that throw, at once or later, are counted and told, and nothing else suffers', async () => {
    list = (response) => page(response, '10', { a: '1', b: '2', c: '3' });
    const reflector = start({
      onChange: (key, object) => {
        told.push(`${key} ${object}`);
        if (key === 'ns/a') throw new Error('at once');
        return key === 'ns/b' ? Promise.reject(new Error('later')) : undefined;
      },
    });
    await waitFor('both errors', () => reflector.counts.handlerErrors === 2);
    expect(told).toEqual(['ns/a 1', 'ns/b 2', 'ns/c 3']);
    expect(troubles).toEqual(['handler of ConfigMap ns/a failed: at once', 'handler of ConfigMap ns/b failed: later']);
    expect(reflector.counts).toMatchObject({ lists: 1, failures: 0 });
  });

  it('an object that cannot be stripped keeps what was known of it', async () => {
    watch = (response) => response.writeHead(200).write(line('MODIFIED', 'a', '11') + line('ADDED', 'b', '12'));
    const reflector = start({
      strip: (object) => {
        if (object.metadata!.resourceVersion === '11') throw new Error('odd');
        return object.metadata!.resourceVersion!;
      },
    });
    await waitFor('the next', () => reflector.get('ns/b'));
    expect(reflector.get('ns/a')).toBe('1');
    expect(reflector.counts.handlerErrors).toBe(1);
  });

  it('are not called any more after the stop, not even for the rest of a page', async () => {
    list = (response) => page(response, '10', { a: '1', b: '2', c: '3' });
    const reflector = start({
      onChange: (key) => {
        told.push(key);
        if (key === 'ns/b') reflector.stop();
      },
    });
    await expect(reflector.synced).rejects.toThrow('stopped before it had listed');
    expect(told).toEqual(['ns/a', 'ns/b']);
    expect(reflector.size).toBe(2);
  });
});

it('a stop ends the watch and no other follows', async () => {
  let closed = false;
  watch = (response) => {
    response.on('close', () => {
      closed = true;
    });
    response.writeHead(200).flushHeaders();
  };
  const reflector = start();
  await waitFor('the watch', () => watches().length === 1);
  reflector.stop();
  await waitFor('its end', () => closed);
  expect(troubles).toEqual([]);
  expect(() => reflector.start()).toThrow('started once');
});
