import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client, Pool } from 'pg';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { callAtRate } from './api-load.js';
import { bench, type Measured, type Running } from './bench.js';
import { BenchMesh } from './bench-mesh.js';

const instances = 10_000;
const perSecond = 300;
const rebuiltWithinMs = 10 * 60_000;

interface Setting {
  readonly api: string;
  readonly key: string;
  /** As an administrator, to whom all schemas are open. */
  readonly database: string;
  readonly ids: readonly string[];
}

export const api = bench<Setting>({
  name: 'api',
  says: `answers of the API for ${instances} instances at ${perSecond} calls a second, also while its read model is made again`,
  size: {
    full: { n: 9_000, rounds: 3, warmUp: 1_000, minutes: 5 },
    quick: { n: 900, rounds: 1, warmUp: 100, minutes: 1.5 },
  },
  setUp: async (stack) => {
    const mesh = await BenchMesh.install(stack, undefined);
    await mesh.startServices();
    const url = new URL(stack.MESH_POSTGRES_URL);
    url.pathname = new URL(mesh.installed.meshDatabaseUrl).pathname;
    const ids = Array.from({ length: instances }, () => newId());
    const setting = {
      ...{ api: mesh.services.url('api-gateway'), key: mesh.installed.apiKey },
      ...{ database: url.toString(), ids },
    };
    await makeCurrent(setting);
    await rebuild(setting);
    return { setting, tearDown: () => mesh.remove() };
  },
  contenders: {
    'while it is made again': { start: (setting) => load(setting, (n) => whileRebuilding(setting, n)) },
    'at rest': { start: (setting) => load(setting, (n) => atRest(setting, n)) },
    'bare server': { start: startBare },
  },
  comparisons: [
    {
      ...{ says: 'p95 at rest', quantity: 'p95Ms', ours: 'at rest', reference: 'bare server' },
      goal: { of: 'ours', is: 'at most', value: 50 },
    },
    {
      ...{ says: 'p95 while made again', quantity: 'p95Ms', ours: 'while it is made again', reference: 'bare server' },
      goal: { of: 'ours', is: 'at most', value: 50 },
    },
  ],
  notes: [
    'Calls at an even rate, counted from when they were due: 60 % one instance, 20 % a page of 50, 10 % its timeline, 10 % why it waits.',
    'What is made again: the planner and the provisioner say two facts of each instance anew, and the gateway handles them as new.',
    'The bare server: node:http and pg, one SELECT of the row by its key, no access right, no check, the same calls.',
    'rssMiB: of the gateway, after the round.',
  ],
});

/** What the owners would say of so many instances, as their own tables hold it; nothing of them stands anywhere. */
async function makeCurrent({ database, ids }: Setting): Promise<void> {
  await asAdministrator(database, async (client) => {
    await client.query('CREATE TEMPORARY TABLE made (n serial, id text)');
    await client.query('INSERT INTO made (id) SELECT unnest($1::text[])', [ids]);
    for (const [service, key, data] of facts)
      await client.query(
        `INSERT INTO ${service.replaceAll('-', '_')}.current_fact (routing_key, subject, message_id, body)
         SELECT $1, id, message, json_build_object('specversion', '1.0', 'id', message, 'source', $2::text,
           'type', 'mesh.' || $1, 'subject', id, 'sequence', 1795428000000, 'time', '2026-11-23T10:00:00.000Z',
           'datacontenttype', 'application/json', 'correlationid', id, 'causationid', id, 'data', ${data})::text
         FROM (SELECT *, gen_random_uuid() AS message FROM made) made`,
        [key, service],
      );
    await client.query('ANALYZE');
  });
}

const template = `json_build_object('image', 'registry.local/odoo:18.0', 'version', '18.0', 'bundle', 'apps',
  'language', 'en_US', 'database', 'tpl_18')`;
const place = `'instanceId', id, 'footprintId', id, 'claim', 'new', 'cell', 'c' || n / 1000, 'namespace',
  'mesh-c' || n / 1000, 'databaseShard', 'local', 'host', 'i' || n || '.example', 'plan',
  json_build_object('name', 'business', 'version', 1), 'template', ${template}`;
const facts = [
  [
    'capacity-planner',
    'instance.placed.v1',
    `json_build_object(${place}, 'requestId', id, 'reasons', json_build_array('here is room'), 'specification',
       json_build_object('instanceId', id, 'slug', 'i' || n, 'customerId', 'c-' || n / 10, 'plan', 'business',
         'odooVersion', '18.0', 'bundle', 'apps', 'company', 'ACME Ltd', 'adminLogin', 'owner@acme.example',
         'language', 'en_US'))`,
  ],
  [
    'provisioner',
    'instance.ready.v1',
    `json_build_object(${place}, 'customerId', 'c-' || n / 10, 'externalRef', null, 'database', 'o' || n, 'role',
       'o' || n, 'secret', 'o' || n, 'volumeClaim', 'o' || n, 'url', 'https://i' || n || '.example', 'uuid', id,
       'verified', 'http', 'timings', json_build_object('role', 22, 'ready', 3400))`,
  ],
] as const;

async function asAdministrator<T>(database: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: database });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function rebuild({ api, key }: Setting): Promise<void> {
  const headers = { authorization: `Bearer ${key}` };
  const answer = await fetch(`${api}/v1/read-model/rebuild`, { method: 'POST', headers });
  if (answer.status !== 202) throw new Error(`not rebuilt: ${await answer.text()}`);
  const complete = async () => {
    const status = (await (await fetch(`${api}/v1/read-model`, { headers })).json()) as Record<string, unknown>;
    return status.state === 'complete' && status.notToldAgain === 0 && status.instances === instances;
  };
  await waitFor('all instances to be known', complete, { timeoutMs: rebuiltWithinMs, intervalMs: 250 });
}

async function load(_: Setting, round: (n: number) => Promise<Measured>): Promise<Running> {
  return { round, stop: async () => {} };
}

function pathsOf({ ids }: Setting): () => string {
  const any = () => ids[Math.floor(Math.random() * ids.length)]!;
  return () => {
    const kind = Math.random();
    if (kind < 0.6) return `/v1/instances/${any()}`;
    if (kind < 0.7) return `/v1/instances?limit=50&customerId=c-${Math.floor((Math.random() * instances) / 10)}`;
    if (kind < 0.8) return `/v1/instances?limit=50&sort=-created&after=${any()}`;
    return `/v1/instances/${any()}/${kind < 0.9 ? 'timeline' : 'explain'}`;
  };
}

async function atRest(setting: Setting, n: number): Promise<Measured> {
  const headers = { authorization: `Bearer ${setting.key}` };
  const latencies = await callAtRate(setting.api, headers, perSecond, pathsOf(setting), (calls) => calls < n);
  return { ...latencies, rssMiB: await rssMiB(setting) };
}

async function whileRebuilding(setting: Setting, n: number): Promise<Measured> {
  const headers = { authorization: `Bearer ${setting.key}` };
  let rebuilding = true;
  const start = performance.now();
  const [latencies, seconds] = await Promise.all([
    callAtRate(setting.api, headers, perSecond, pathsOf(setting), (calls) => rebuilding || calls < Math.min(n, 300)),
    rebuild(setting)
      .then(() => (performance.now() - start) / 1_000)
      .finally(() => {
        rebuilding = false;
      }),
  ]);
  return { ...latencies, seconds, rssMiB: await rssMiB(setting) };
}

async function rssMiB({ api }: Setting): Promise<number> {
  const text = await (await fetch(`${api}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\S+)$/m.exec(text)![1]) / 2 ** 20;
}

async function startBare(setting: Setting): Promise<Running> {
  const pool = new Pool({ connectionString: setting.database, max: 10 });
  const server = createServer((request, response) => {
    const [, , , id] = request.url!.split(/[/?]/);
    const found = id && setting.ids.includes(id) ? id : setting.ids[0];
    pool.query('SELECT * FROM api_gateway.instance_view WHERE instance_id = $1', [found]).then(
      ({ rows }) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(rows[0])),
      (error) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    round: async (n) => ({ ...(await callAtRate(origin, {}, perSecond, pathsOf(setting), (calls) => calls < n)) }),
    stop: async () => {
      server.close();
      await pool.end();
    },
  };
}
