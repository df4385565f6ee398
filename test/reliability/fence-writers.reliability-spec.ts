import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { longForm } from '../e2e/config.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { asTenant, type Footprint, passwordIn } from './fixtures/lifecycle-world.js';

let mesh: TestMesh;
let lifecycle: Lifecycle;

beforeAll(async () => {
  mesh = await TestMesh.start({ jobLease: '2s' });
  lifecycle = new Lifecycle(mesh);
});
afterAll(() => mesh?.stop());

/**
 * An Odoo that nobody can stop, as behind a kubelet that is away: it keeps its password, comes back whenever it is thrown
 * out, and writes all the time.
 */
class HalfDeadPod {
  /** Log-ins and writes that were refused. */
  refused = 0;
  /** What it believes to have written. */
  written = 0;
  private stopped = false;
  private readonly work: Promise<void>;

  constructor(
    private readonly footprint: Footprint,
    private readonly password: string,
    /** Begins to write, and commits when it is told to. */
    private readonly writing: 'at once' | 'in long transactions',
  ) {
    this.work = this.live();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.work;
  }

  private async live(): Promise<void> {
    while (!this.stopped) {
      const client = asTenant(this.footprint, this.password);
      try {
        await client.connect();
        while (!this.stopped) {
          if (this.writing === 'in long transactions') await client.query('BEGIN');
          await client.query('INSERT INTO proof_of_life DEFAULT VALUES');
          if (this.writing === 'in long transactions') await client.query('SELECT pg_sleep(0.3)');
          if (this.writing === 'in long transactions') await client.query('COMMIT');
          this.written += 1;
        }
      } catch {
        this.refused += 1;
      } finally {
        await client.end().catch(() => {});
      }
    }
  }
}

async function running(slug: string) {
  const request = mesh.request(slug);
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId);
  await lifecycle.state(ready.instanceId, 'running');
  return ready;
}

const inAMinute = () => new Date(Date.now() + 60_000).toISOString();

test('what lives on behind a lost node writes nothing from the moment in which its instance is said to be quiesced, and never again', async () => {
  const ready = await running('half-dead');
  const { instanceId, namespace, database, role } = ready;
  const oldPassword = await passwordIn(mesh, namespace, ready.secret);
  const owner = asTenant(ready, oldPassword!);
  await owner.connect();
  await owner.query('CREATE TABLE proof_of_life (at timestamptz NOT NULL DEFAULT clock_timestamp())');
  await owner.end();
  const rows = async () => {
    const sql = 'SELECT count(*)::int AS n, max(at) AS last FROM proof_of_life';
    return (await mesh.sql<{ n: number; last: Date }>(sql, [], database))[0]!;
  };
  const sessions = () => mesh.sql('SELECT 1 FROM pg_stat_activity WHERE usename = $1', [role]);

  let password = oldPassword!;
  const all: HalfDeadPod[] = [];
  try {
    for (let round = 0; round < (longForm() ? 20 : 3); round++) {
      const pods = (['at once', 'at once', 'in long transactions'] as const).map(
        (writing) => new HalfDeadPod(ready, password, writing),
      );
      all.push(...pods);
      await waitFor('each of them to write', () => pods.every(({ written }) => written > 0));

      const asked = { purpose: 'restore', deadline: inAMinute() };
      const quiesced = await lifecycle.do('quiesce', instanceId, asked);
      expect(quiesced).toMatchObject({ fact: 'quiesced' });
      const { n, last } = await rows();
      const [said] = mesh.said('instance.quiesced.v1', instanceId).slice(-1);
      expect(last.getTime()).toBeLessThanOrEqual(Date.parse((said!.envelope as unknown as { time: string }).time));
      await eachIsRefused(pods);
      expect([(await rows()).n, await sessions()]).toEqual([n, []]);

      const released = await lifecycle.do('release', instanceId, { token: quiesced.token });
      expect(released).toMatchObject({ fact: 'released' });
      await eachIsRefused(all);
      expect((await rows()).n).toBe(n);
      password = (await passwordIn(mesh, namespace, lifecycle.stateOf(instanceId)!.secret))!;
    }
  } finally {
    await Promise.all(all.map((pod) => pod.stop()));
  }
  // Who has the new one lives.
  const odoo = new HalfDeadPod(ready, password, 'at once');
  await waitFor('its new Odoo to write', () => odoo.written > 0);
  await odoo.stop();
});

/** Each has tried again and again, and has been refused. */
async function eachIsRefused(pods: readonly HalfDeadPod[]): Promise<void> {
  const before = pods.map(({ refused }) => refused);
  await waitFor('each to be refused', () => pods.every(({ refused }, at) => refused > before[at]! + 5));
}

test('neither does it write after a termination was scheduled: its final backup is all there is of it', async () => {
  const ready = await running('half-dead-end');
  const password = (await passwordIn(mesh, ready.namespace, ready.secret))!;
  const owner = asTenant(ready, password);
  await owner.connect();
  await owner.query('CREATE TABLE proof_of_life (at timestamptz NOT NULL DEFAULT clock_timestamp())');
  await owner.end();
  const pod = new HalfDeadPod(ready, password, 'at once');
  try {
    await waitFor('it to write', () => pod.written > 0);
    await lifecycle.do('termination', ready.instanceId);
    const count = () => mesh.sql('SELECT count(*) FROM proof_of_life', [], ready.database);
    const n = await count();
    await eachIsRefused([pod]);
    expect(await count()).toEqual(n);
  } finally {
    await pod.stop();
  }
});
