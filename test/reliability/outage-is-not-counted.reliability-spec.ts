import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { at, statement } from '#testing/process-kit.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

/** A provisioning alone takes a second, more when the machine is busy. */
const deadlineSeconds = 4;

let mesh: TestMesh;
let proxies: ServiceProxies;

beforeAll(async () => {
  mesh = await TestMesh.start({
    provisioningDeadline: `${deadlineSeconds}s`,
    jobLease: '2s',
    start: ['api-gateway', 'capacity-planner'],
  });
  proxies = await ServiceProxies.before(mesh, 'provisioner');
  const matches = ({ method }: { method: string }) => refusesChanges && method !== 'GET';
  proxies.cluster.fail(Number.POSITIVE_INFINITY, matches, { status: 503 });
  await mesh.services.start('provisioner');
  const first = mesh.request('first');
  await mesh.publish(first);
  await mesh.ready(first.data.instanceId);
});
afterEach(async () => {
  heal();
  await mesh.services.start('provisioner');
});
afterAll(async () => {
  await mesh?.stop();
  await proxies?.close();
});

function takeShardAway(): void {
  proxies.shard!.refuse(true);
  proxies.shard!.cut();
}
let refusesChanges = false;
function heal(): void {
  proxies.shard!.refuse(false);
  refusesChanges = false;
}

async function request(slug: string): Promise<string> {
  const one = mesh.request(slug);
  await mesh.publish(one);
  return one.data.instanceId;
}
const explained = (instanceId: string, reason: string) =>
  waitFor(`${instanceId} to say ${reason}`, async () => {
    const { body } = await mesh.api(`/v1/instances/${instanceId}/explain`);
    return body.reason === reason ? body : undefined;
  });
/** So long that it would have been given up, if this time were counted. */
const tooOld = (instanceId: string) =>
  waitFor(
    `${instanceId} to be old`,
    async () => {
      const sql = `SELECT now() - started_at > $2 * interval '1 second' AS old FROM provisioner.footprint WHERE instance_id = $1`;
      const [row] = await mesh.sql<{ old: boolean }>(sql, [instanceId, deadlineSeconds + 0.5]);
      return row?.old;
    },
    { intervalMs: 100 },
  );

test('the shard goes in the middle of a provisioning, and whoever was at work dies: it is made when the shard is back', async () => {
  let gone = false;
  void at([statement(proxies.shard!, 'CREATE DATABASE')], () => {
    gone = true;
    takeShardAway();
    return undefined;
  });
  const id = await request('without-shard');
  await waitFor('its middle', () => gone);
  expect(await explained(id, 'SHARD_UNAVAILABLE')).toMatchObject({
    ...{ state: 'provisioning', fault: 'platform', next: expect.stringContaining('not counted') },
  });
  await mesh.services.kill('provisioner');
  await tooOld(id);
  heal();
  await mesh.services.start('provisioner');
  await mesh.ready(id);
});

test('the cluster can be read and takes no changes for longer than a provisioning may take: it is made then', async () => {
  refusesChanges = true;
  const id = await request('without-changes');
  await explained(id, 'CLUSTER_UNAVAILABLE');
  await tooOld(id);
  await waitFor('it to have been looked at often', async () => {
    const sql = `SELECT attempt FROM provisioner.job j JOIN provisioner.footprint f ON j.key = f.footprint_id::text WHERE instance_id = $1`;
    const [job] = await mesh.sql<{ attempt: number }>(sql, [id]);
    return job && job.attempt >= 7;
  });
  heal();
  await mesh.ready(id);
});

test('nobody is there to look for longer than a provisioning may take, and to notice that: it is made then', async () => {
  let killed: Promise<void> | undefined;
  void at([statement(proxies.shard!, 'CREATE ROLE')], () => {
    killed = mesh.services.kill('provisioner');
    return undefined;
  });
  const id = await request('without-anybody');
  await waitFor('the provisioner to be killed', () => killed !== undefined);
  await killed;
  await tooOld(id);
  await mesh.services.start('provisioner');
  await mesh.ready(id);
});

test('what is looked at and does not come on is given up, and made when that is mended', async () => {
  const rename = (from: string, to: string) =>
    mesh.sql(`ALTER DATABASE ${mesh.name}_${from} RENAME TO ${mesh.name}_${to}`, [], 'postgres');
  await rename('tpl_18_apps_en_us', 'elsewhere');
  let id: string;
  try {
    id = await request('without-template');
    await explained(id, 'TEMPLATE_MISSING');
    const failed = await waitFor('it to be given up', () => mesh.said('instance.provisioning-failed.v1', id)[0]);
    expect(failed.envelope.data).toMatchObject({ code: 'DEADLINE_EXCEEDED', fault: 'platform', retryable: true });
    expect(await explained(id, 'DEADLINE_EXCEEDED')).toMatchObject({ state: 'failed', fault: 'platform' });
  } finally {
    await rename('elsewhere', 'tpl_18_apps_en_us');
  }
  const retry = { ...mesh.request('none'), type: 'mesh.instance.provision-retry-requested.v1', id: newId() };
  await mesh.publish(
    { ...retry, data: { instanceId: id, reason: 'mended' } },
    { key: 'instance.provision-retry-requested.v1' },
  );
  await mesh.ready(id);
});
