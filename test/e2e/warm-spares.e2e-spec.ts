import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
afterAll(() => mesh?.stop());

const wish = 'business/18.0/apps/en_US';
interface Row {
  readonly footprint_id: string;
  readonly state: string;
  readonly claimed_by: string | null;
}

const pool = () =>
  mesh.sql<Row>('SELECT footprint_id, state, claimed_by FROM capacity_planner.spare ORDER BY asked_at');
/** The ids of spares that anybody could claim now. */
async function readySpares(count: number): Promise<string[]> {
  const look = async () => {
    const rows = (await pool()).filter(({ state }) => state === 'ready');
    return rows.length === count ? rows.map(({ footprint_id }) => footprint_id) : undefined;
  };
  return await mesh.explained(waitFor(`${count} spares at hand`, look, { timeoutMs: 60_000 }));
}

async function request(slug: string, data: Record<string, unknown> = {}): Promise<string> {
  const one = mesh.request(slug, data);
  await mesh.publish(one);
  return one.data.instanceId;
}

/** A cell is opened for the first customer; then there is somewhere for spares to be. */
async function withSpares(count: number, options: Parameters<typeof TestMesh.start>[0] = {}): Promise<void> {
  mesh = await TestMesh.start({ spares: `${wish}=${count}`, ...options });
  await mesh.ready(await request('first'));
  await readySpares(count);
}

describe('with two spares', () => {
  beforeAll(() => withSpares(2));

  it('many at once get each a spare of their own or a new one, and the pool is filled again', async () => {
    const spares = await readySpares(2);
    await mesh.startReplica(['capacity-planner', 'provisioner']);
    const ids = await Promise.all(Array.from({ length: 12 }, (_, n) => request(`one-${n}`)));
    const ready = await Promise.all(ids.map((id) => mesh.ready(id)));

    const footprints = ready.map(({ footprintId }) => footprintId);
    expect(new Set(footprints).size).toBe(12);
    const claimed = ready.filter(({ claim }) => claim === 'spare').map(({ footprintId }) => footprintId);
    expect(claimed).toEqual(expect.arrayContaining(spares));
    for (const { instanceId, footprintId, claim } of ready)
      if (claim === 'spare')
        expect((await pool()).find(({ footprint_id }) => footprint_id === footprintId)).toMatchObject({
          state: 'claimed',
          claimed_by: instanceId,
        });
    await readySpares(2);
    // Every place and database that is taken is somebody's.
    const standing = await waitFor('nothing on its way', async () => {
      const rows = (await pool()).filter(({ state }) => state !== 'claimed');
      return rows.every(({ state }) => state === 'ready') ? rows.length : undefined;
    });
    const [held] = await mesh.sql<{ count: number }>(
      `SELECT count(*)::int FROM capacity_planner.placement WHERE state = 'placed'`,
    );
    const [cell] = await mesh.sql<{ reserved: number }>('SELECT reserved FROM capacity_planner.cell');
    const [shard] = await mesh.sql<{ reserved: number }>('SELECT reserved FROM capacity_planner.database_shard');
    expect([cell!.reserved, shard!.reserved]).toEqual([held!.count + standing, held!.count + standing]);
  });

  it('a spare is nobody’s and cannot be reached; claimed, it is its customer’s and goes on running', async () => {
    const [footprintId] = await readySpares(2);
    const namespace = `${mesh.name}-c0`;
    const object = `o${footprintId!.replaceAll('-', '')}`;
    const selector = `mesh.odoo/footprint=${footprintId}`;
    const look = async () => {
      const deployment = await mesh.cluster.get({ kind: 'Deployment', namespace, name: object });
      const pods = await mesh.cluster.list('Pod', namespace, selector);
      const route = await mesh.cluster.get({ kind: 'IngressRoute', namespace, name: object });
      return { deployment, pods, route };
    };
    const before = await look();
    expect(before.route).toBeUndefined();
    expect(before.pods).toHaveLength(1);
    for (const { metadata } of [before.deployment!, ...before.pods])
      expect(Object.keys(metadata!.labels!)).not.toContain('instance-id');

    const instanceId = await request('acme');
    const ready = await mesh.ready(instanceId);
    expect(ready).toMatchObject({ footprintId, claim: 'spare', verified: 'pod-condition' });
    const after = await look();
    expect(after.route?.metadata?.labels).toMatchObject({ 'instance-id': instanceId });
    expect(after.pods.map(({ metadata }) => metadata!.uid)).toEqual(before.pods.map(({ metadata }) => metadata!.uid));
    expect(after.deployment!.metadata!.generation).toBe(before.deployment!.metadata!.generation);
    for (const kind of ['Deployment', 'PersistentVolumeClaim', 'Service'])
      expect((await mesh.cluster.get({ kind, namespace, name: object }))!.metadata!.labels).toMatchObject({
        'instance-id': instanceId,
        'customer-id': 'c-1042',
      });
    expect(after.pods[0]!.metadata!.labels).toMatchObject({ 'instance-id': instanceId, 'customer-id': 'c-1042' });
  });

  it('no customer gets what was made of a template that has been made anew since', async () => {
    const old = await readySpares(2);
    const database = `${mesh.name}_tpl_18_apps_en_us`;
    const [row] = await mesh.sql<{ comment: string }>(
      `SELECT shobj_description(oid, 'pg_database') AS comment FROM pg_database WHERE datname = $1`,
      [database],
    );
    const mark = { ...JSON.parse(row!.comment), madeAt: new Date().toISOString() };
    await mesh.sql(`COMMENT ON DATABASE "${database}" IS '${JSON.stringify(mark)}'`);

    const removed = (id: string) =>
      mesh.heard.some(({ key, envelope }) => key === 'footprint.removed.v1' && envelope.data.footprintId === id);
    await mesh.explained(waitFor('the old spares to be removed', () => old.every(removed), { timeoutMs: 90_000 }));
    const now = await readySpares(2);
    expect(now.filter((id) => old.includes(id))).toEqual([]);
    expect(now).toContain((await mesh.ready(await request('modern'))).footprintId);
    for (const id of old) {
      const name = `${mesh.name}_o${id.replaceAll('-', '')}`;
      expect(await mesh.sql('SELECT datname FROM pg_database WHERE datname = $1', [name])).toEqual([]);
      expect(await mesh.sql('SELECT rolname FROM pg_roles WHERE rolname = $1', [name])).toEqual([]);
    }
  });

  it('a spare that does not come in time is taken back, and another one is made', async () => {
    const [late] = await readySpares(2);
    await mesh.sql(
      `UPDATE capacity_planner.spare SET state = 'asked', asked_at = now() - interval '16 minutes' WHERE footprint_id = $1`,
      [late],
    );
    const gone = async () => (await pool()).every(({ footprint_id }) => footprint_id !== late);
    await mesh.explained(waitFor('the late one to be gone', gone, { timeoutMs: 60_000 }));
    expect(await readySpares(2)).not.toContain(late);
  });

  it('what an instance has claimed is removed by its purge alone, and its place is free then', async () => {
    await readySpares(2);
    const ready = await mesh.ready(await request('mistaken'));
    expect(ready.claim).toBe('spare');
    await mesh.publish(
      {
        specversion: '1.0',
        id: `remove-${ready.footprintId}`,
        source: 'capacity-planner',
        type: 'mesh.footprint.removal-requested.v1',
        data: { footprintId: ready.footprintId, reason: 'a mistake' },
      },
      { key: 'footprint.removal-requested.v1', as: 'capacity-planner' },
    );
    const refused = () =>
      mesh.heard.find(
        ({ key, envelope }) =>
          key === 'footprint.removal-refused.v1' && envelope.data.footprintId === ready.footprintId,
      );
    const { envelope } = await mesh.explained(waitFor('the request to be refused', refused, { timeoutMs: 30_000 }));
    expect(envelope.data).toMatchObject({ code: 'IN_USE', requestId: `remove-${ready.footprintId}` });
    await readySpares(2);
    const reserved = async () =>
      (await mesh.sql<{ reserved: number }>('SELECT reserved FROM capacity_planner.cell'))[0]!.reserved;
    const before = await reserved();
    await mesh.purge(ready);
    await waitFor('its place to be free', async () => (await reserved()) === before - 1);
  });
});

it('spares give way to customers who want something else', async () => {
  await mesh.stop();
  await withSpares(2, { placesPerCell: 4, maxCells: 1 });
  const ids = await Promise.all([1, 2, 3].map((n) => request(`french-${n}`, { language: 'fr_FR' })));
  const ready = await Promise.all(ids.map((id) => mesh.ready(id, 90_000)));
  expect(ready.map(({ claim }) => claim)).toEqual(['new', 'new', 'new']);
});
