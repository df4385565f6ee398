import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { KubernetesObject } from '#kubernetes/index.js';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { ServiceProxies } from './fixtures/service-proxies.js';

let mesh: TestMesh;
let proxies: ServiceProxies;
let namespace: string;

/** One whole instance first, so that what is broken then is the only thing that is. */
beforeAll(async () => {
  mesh = await TestMesh.start({ maxCells: 1, placesPerCell: 100, start: ['api-gateway', 'capacity-planner'] });
  proxies = await ServiceProxies.before(mesh, 'provisioner');
  await mesh.services.start('provisioner');
  const well = mesh.request('well');
  await mesh.publish(well);
  namespace = (await mesh.ready(well.data.instanceId)).namespace;
});
afterAll(async () => {
  await mesh?.stop();
  await proxies?.close();
});

interface Expected {
  readonly state: string;
  readonly reason: string | null;
  readonly fault: 'user' | 'platform';
  /** Part of what it waits for. */
  readonly waitsFor: string;
}

async function explained(instanceId: string, expected: Expected): Promise<void> {
  const { waitsFor, ...rest } = expected;
  const seen = await waitFor(`${instanceId} to be explained`, async () => {
    const { status, body } = await mesh.api(`/v1/instances/${instanceId}/explain`);
    return status === 200 && body.state === rest.state && body.reason === rest.reason ? body : undefined;
  });
  expect(seen).toMatchObject({
    ...rest,
    waitsFor: expect.stringContaining(waitsFor),
    next: expect.stringMatching(/\.$/),
  });
  expect(Date.parse(seen.since)).toBeLessThanOrEqual(Date.now());
}

test.each([
  ['a reserved name', 'admin', {}, 'slug-reserved'],
  ['a name that somebody has', 'well', {}, 'slug-taken'],
  ['a plan that is none', 'no-plan', { plan: 'gold' }, 'unknown-plan'],
  ['a version that no template serves', 'no-version', { odooVersion: '7.0' }, 'unknown-version'],
])('%s is the asker’s to mend', async (_, slug, change, reason) => {
  const request = mesh.request(slug, change);
  await mesh.publish(request);
  const expected = { state: 'refused', reason, fault: 'user', waitsFor: 'another request' } as const;
  await explained(request.data.instanceId, expected);
});

const quota = { kind: 'ResourceQuota', name: 'fuse' };
const binding = { kind: 'RoleBinding', name: 'footprint-writers' };
let taken: KubernetesObject;

const setSecrets = (secrets: string) =>
  mesh.cluster.merge({ ...quota, namespace }, { spec: { hard: { secrets } } }, 'test');
const setPlaces = (places: string) => mesh.sql(`UPDATE capacity_planner.cell SET places = ${places}`);
const setPassword = async (kept: boolean) => {
  const role = `${mesh.name}_shard`;
  if (!kept) {
    [{ verifier }] = (await mesh.sql('SELECT rolpassword AS verifier FROM pg_authid WHERE rolname = $1', [role])) as [
      { verifier: string },
    ];
  }
  await mesh.sql(`ALTER ROLE ${role} PASSWORD '${kept ? verifier : 'another one'}'`);
  proxies.shard!.cut();
};
let verifier = '';
const nameTemplate = (from: string, to: string) =>
  mesh.sql(`ALTER DATABASE ${mesh.name}_${from} RENAME TO ${mesh.name}_${to}`, [], 'postgres');

/** What breaks, what is said then, and how it is mended, after which the instance becomes Ready by itself. */
const broken: readonly (readonly [string, () => unknown, Expected, () => unknown])[] = [
  [
    'the planner does not run',
    () => mesh.services.kill('capacity-planner'),
    { state: 'requested', reason: null, fault: 'platform', waitsFor: 'the planner' },
    () => mesh.services.start('capacity-planner'),
  ],
  [
    'the provisioner does not run',
    () => mesh.services.kill('provisioner'),
    { state: 'provisioning', reason: null, fault: 'platform', waitsFor: 'the provisioner' },
    () => mesh.services.start('provisioner'),
  ],
  [
    'all cells are full',
    () => setPlaces('reserved'),
    { state: 'waiting', reason: 'AllCellsFull', fault: 'platform', waitsFor: 'a free place' },
    () => setPlaces('100'),
  ],
  [
    'the quota of the cell is used up',
    () => setSecrets('0'),
    { state: 'provisioning', reason: 'CELL_FULL', fault: 'platform', waitsFor: 'the quota' },
    () => setSecrets('300'),
  ],
  [
    'the provisioner has lost its rights in the cell',
    async () => {
      taken = (await mesh.cluster.get({ ...binding, namespace }))!;
      await mesh.cluster.delete({ ...binding, namespace }, { uid: taken.metadata!.uid! });
    },
    { state: 'provisioning', reason: 'CLUSTER_FORBIDS', fault: 'platform', waitsFor: 'Kubernetes forbids' },
    () => {
      const { name, labels } = taken.metadata!;
      return mesh.cluster.create({ ...taken, metadata: { name: name!, namespace, labels } }, 'test');
    },
  ],
  [
    'the Kubernetes API does not answer',
    () => {
      proxies.cluster.tcp.refuse(true);
      proxies.cluster.cut();
    },
    { state: 'provisioning', reason: 'CLUSTER_UNAVAILABLE', fault: 'platform', waitsFor: 'the Kubernetes API' },
    () => proxies.cluster.tcp.refuse(false),
  ],
  [
    'the database shard does not answer',
    () => {
      proxies.shard!.refuse(true);
      proxies.shard!.cut();
    },
    { state: 'provisioning', reason: 'SHARD_UNAVAILABLE', fault: 'platform', waitsFor: 'its database shard' },
    () => proxies.shard!.refuse(false),
  ],
  [
    'the shard refuses the log-in',
    () => setPassword(false),
    { state: 'provisioning', reason: 'SHARD_REFUSES_LOGIN', fault: 'platform', waitsFor: 'refuses' },
    () => setPassword(true),
  ],
  [
    'the template is gone',
    () => nameTemplate('tpl_18_apps_en_us', 'elsewhere'),
    { state: 'provisioning', reason: 'TEMPLATE_MISSING', fault: 'platform', waitsFor: 'its template' },
    () => nameTemplate('elsewhere', 'tpl_18_apps_en_us'),
  ],
];

test.each(broken)('when %s it is said, and it goes on when that is mended', async (what, breakIt, expected, mendIt) => {
  const wish = { plan: 'starter', odooVersion: '18.0', company: 'Broken Ltd', adminLogin: 'me@broken.example' };
  const slug = what.replaceAll(/[^a-z]+/gi, '-').toLowerCase();
  await breakIt();
  try {
    const asked = await mesh.api('/v1/instances', { method: 'POST', body: { ...wish, slug, customerId: 'c-1' } });
    await explained(asked.body.instanceId, expected);
    await mendIt();
    await mesh.ready(asked.body.instanceId);
    await waitFor('it to be known as running', async () => {
      return (await mesh.api(`/v1/instances/${asked.body.instanceId}/explain`)).body.waitsFor === null;
    });
  } catch (error) {
    await mendIt();
    throw error;
  }
});

test.each([
  ['a role', 'FOREIGN_ROLE', (name: string) => `CREATE ROLE ${name}`, (name: string) => `DROP ROLE ${name}`],
  [
    'a database',
    'FOREIGN_DATABASE',
    (name: string) => `CREATE DATABASE ${name}`,
    (name: string) => `DROP DATABASE ${name}`,
  ],
])('%s of its name that is not ours ends it, and says who has to act', async (what, reason, make, drop) => {
  await mesh.services.kill('provisioner');
  const request = mesh.request(`foreign-${what.slice(2)}`);
  const { instanceId } = request.data;
  await mesh.publish(request);
  const placed = await waitFor('its place', () => mesh.said('instance.placed.v1', instanceId)[0]);
  const name = `${mesh.name}_o${placed.envelope.data.footprintId.replaceAll('-', '')}`;
  await mesh.sql(make(name), [], 'postgres');
  await mesh.services.start('provisioner');
  await explained(instanceId, { state: 'failed', reason, fault: 'platform', waitsFor: 'an operator' });
  await mesh.sql(drop(name), [], 'postgres');
});
