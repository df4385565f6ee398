import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { KubernetesObject } from '#kubernetes/index.js';
import { statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { called, type Point, seen } from './fixtures/points.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

let mesh: TestMesh;
let proxies: ServiceProxies;

/** Two provisioners; the first one's connections go through proxies, so that it can be frozen in the right moment. */
beforeAll(async () => {
  // A question that is asked again is answered again: rightly so, but not what is looked at here.
  const quiet = { askAgain: '10m' };
  mesh = await TestMesh.start({ ...quiet, jobLease: '2s', start: ['api-gateway', 'capacity-planner'] });
  proxies = await ServiceProxies.before(mesh, 'provisioner');
  await mesh.services.start('provisioner');
  proxies.leaveOut();
  await mesh.startReplica(['provisioner']);
});
afterAll(async () => {
  await mesh?.stop();
  await proxies?.close();
});

const points: readonly (readonly [string, 'short' | 'long', Point])[] = [
  [
    'between the answer that it holds the lease and what it does then',
    'short',
    seen(() => [statement(proxies.database, 'lease_until - now()')]),
  ],
  ['while it copies a database', 'long', seen(() => [statement(proxies.shard!, 'CREATE DATABASE')])],
  ['while it makes a role', 'long', seen(() => [statement(proxies.shard!, 'CREATE ROLE')])],
  [
    'in the middle of the tenant SQL',
    'long',
    seen(() => [statement(proxies.shard!, 'INSERT INTO ir_config_parameter')]),
  ],
  ['while it applies a Deployment', 'long', called(() => proxies.cluster, 'asked', 'PATCH', 'deployments')],
  ['while it makes a Secret', 'long', called(() => proxies.cluster, 'answered', 'POST', 'secrets')],
  [
    'in the transaction that notes a step',
    'long',
    seen(() => [statement(proxies.database, 'SET attempt = 1'), statement(proxies.database, 'INSERT INTO outbox')]),
  ],
];

let round = 0;

/** How many footprints the first provisioner works on; it knows it before it does anything else. */
async function running(): Promise<number> {
  const response = await fetch(`${mesh.services.url('provisioner')}/metrics`, { signal: AbortSignal.timeout(5_000) });
  return Number(/^mesh_job_running\{kind="footprint"\} (\d+)$/m.exec(await response.text())![1]);
}

/** Nothing is left to do or to say. */
async function settled(): Promise<void> {
  await waitFor('all jobs and outboxes to be empty', async () => {
    const left = await mesh.sql(
      `SELECT 1 FROM provisioner.job WHERE kind = 'footprint' UNION ALL SELECT 1 FROM provisioner.outbox
       UNION ALL SELECT 1 FROM capacity_planner.outbox`,
    );
    return left.length === 0;
  });
}

const kinds = ['Secret', 'PersistentVolumeClaim', 'Service', 'Deployment', 'IngressRoute'] as const;

/** All that a worker can change: objects, roles with their passwords, databases with their content, the mesh's tables. */
async function world() {
  const [cell] = await mesh.sql<{ namespace: string }>('SELECT namespace FROM capacity_planner.cell');
  const objects = await Promise.all(kinds.map((kind) => mesh.cluster.list<KubernetesObject>(kind, cell!.namespace)));
  const name = `${mesh.name}\\_o%`;
  const databases = await mesh.sql<{ name: string }>(
    `SELECT datname AS name, oid, datdba, datallowconn, datacl::text, shobj_description(oid, 'pg_database') AS comment
     FROM pg_database WHERE datname LIKE $1 ORDER BY datname`,
    [name],
  );
  const contents = await Promise.all(
    databases.map((database) =>
      mesh.sql('SELECT key, value, write_date FROM ir_config_parameter ORDER BY key', [], database.name),
    ),
  );
  return {
    objects: objects.flat().map(({ kind, metadata, ...rest }) => {
      const { uid, generation, labels, annotations, name: called } = metadata!;
      // Status is the controllers' own.
      const { status: _, ...wanted } = rest as { status?: unknown };
      const content = createHash('sha256').update(JSON.stringify({ wanted, labels, annotations })).digest('hex');
      return { kind, called, uid, generation, content };
    }),
    roles: await mesh.sql(
      `SELECT rolname, oid, rolpassword, rolconnlimit, shobj_description(oid, 'pg_authid') AS comment
       FROM pg_authid WHERE rolname LIKE $1 ORDER BY rolname`,
      [name],
    ),
    databases,
    contents,
    footprints: await mesh.sql('SELECT * FROM provisioner.footprint ORDER BY footprint_id'),
    facts: await mesh.sql('SELECT * FROM provisioner.current_fact ORDER BY routing_key, subject'),
    // Of instances: a request to republish that was in its hand is answered once more, and rightly.
    said: await mesh.sql(
      `SELECT * FROM provisioner.said WHERE subject IN (SELECT instance_id::text FROM provisioner.footprint)
       ORDER BY subject`,
    ),
  };
}

test.each(points.filter(([, form]) => longForm() || form === 'short'))(
  'a worker that is frozen %s, and goes on after others have finished its work or destroyed it, changes nothing',
  async (_, _form, reached) => {
    const pid = mesh.services.pid('provisioner')!;
    let frozen = false;
    void reached(() => {
      process.kill(pid, 'SIGSTOP');
      frozen = true;
    });
    const requests = Array.from({ length: 10 }, (_, i) => mesh.request(`stale-${round}-${i}`));
    round += 1;
    await Promise.all(requests.map((request) => mesh.publish(request)));
    try {
      await waitFor('it to be frozen', () => frozen, { intervalMs: 5 });
      const held = await mesh.sql<{ key: string }>(
        `SELECT key FROM provisioner.job WHERE kind = 'footprint' AND lease_holder LIKE $1`,
        [`%:${pid}`],
      );
      expect(held.length).toBeGreaterThan(0);
      const ready = await Promise.all(requests.map((request) => mesh.ready(request.data.instanceId, 120_000)));
      const ended = ready.filter(({ footprintId }) => held.some(({ key }) => key === footprintId)).slice(0, 2);
      await Promise.all(ended.map((one) => mesh.purge(one)));
      await settled();
      const before = await world();
      process.kill(pid, 'SIGCONT');
      await waitFor('each of its runs to come to an end', async () => (await running()) === 0, { timeoutMs: 60_000 });
      await settled();
      expect(await world()).toEqual(before);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    for (const { data } of requests) {
      const facts = new Set(mesh.said('instance.ready.v1', data.instanceId).map(({ envelope }) => envelope.id));
      expect(facts.size).toBe(1);
    }
  },
);
