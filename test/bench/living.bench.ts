import { type ChannelModel, connect } from 'amqplib';
import { Pool } from 'pg';
import { Agent } from 'undici';
import { newId } from '#contracts/index.js';
import { KubernetesClient } from '#kubernetes/index.js';
import { footprintNames } from '#odoo/index.js';
import { waitFor } from '#testing/wait-for.js';
import { bench, type Measured, type Running } from './bench.js';
import { BenchMesh } from './bench-mesh.js';

const withSpares = 'business';
const withoutSpares = 'starter';
const atOnce = 10;
const withinMs = 120_000;
const betweenLooksMs = 10;

interface Setting {
  readonly router: string;
  readonly kubeconfig: string;
  /** AMQP addresses of who asks for instances, and of who may approve their end. */
  readonly signup: string;
  readonly lifecycle: string;
  readonly lifecycleUser: string;
  /** As an administrator, to whom all schemas are open. */
  readonly database: string;
}

export const living = bench<Setting>({
  name: 'living',
  says: 'how soon a customer has a log-in page: from the request on the broker to the first 200 at its own host',
  realNode: true,
  size: {
    full: { n: 30, rounds: 1, warmUp: 2, minutes: 10 },
    quick: { n: 4, rounds: 1, warmUp: 1, minutes: 2 },
  },
  setUp: async (stack) => {
    const mesh = await BenchMesh.install(stack, undefined, { spares: 'business/18.0/apps/en_US=2' });
    await mesh.startServices();
    const database = new URL(stack.MESH_POSTGRES_URL);
    database.pathname = new URL(mesh.installed.meshDatabaseUrl).pathname;
    const setting = {
      router: stack.MESH_ROUTER_URL!,
      kubeconfig: stack.MESH_KUBECONFIG,
      signup: mesh.installed.amqpUrl('signup'),
      lifecycle: mesh.installed.amqpUrl('lifecycle'),
      lifecycleUser: `${mesh.name}-lifecycle`,
      database: database.toString(),
    };
    return { setting, tearDown: () => mesh.remove() };
  },
  contenders: {
    'new, one by one': { start: (setting) => customers(setting, (one) => one.singles(withoutSpares)) },
    'claimed, one by one': { start: (setting) => customers(setting, (one) => one.singles(withSpares)) },
    'ten new at once': { start: (setting) => customers(setting, (one) => one.bursts(withoutSpares)) },
    'start alone': { share: 0.5, start: (setting) => customers(setting, (one) => one.starts()) },
  },
  comparisons: [
    {
      ...{ says: 'p95, new', quantity: 'p95Ms', ours: 'new, one by one', reference: 'start alone' },
      goal: { of: 'ours', is: 'at most', value: 8_000 },
    },
    {
      ...{ says: 'p95, claimed', quantity: 'p95Ms', ours: 'claimed, one by one', reference: 'start alone' },
      goal: { of: 'ours', is: 'at most', value: 1_500 },
    },
    { says: 'p95, ten at once', quantity: 'p95Ms', ours: 'ten new at once', reference: 'start alone' },
  ],
  notes: [
    'With the stand-in for Odoo, whose start takes what a real one was measured to take (2.5 s of loading, without its CPU time).',
    'Start alone: an instance that stands is scaled from 0 to 1, until it answers through the router. Nothing is made.',
    'Each instance is purged before the next round; ten at once are counted each from the moment when all were asked for.',
  ],
});

async function customers(
  setting: Setting,
  round: (one: Customers) => (n: number) => Promise<Measured>,
): Promise<Running> {
  const one = await Customers.at(setting);
  return { round: round(one), stop: () => one.leave() };
}

/** Who asks for instances, looks at them as a browser does, and ends them. */
class Customers {
  private readonly agent = new Agent({ connections: 64 });
  private readonly cluster: KubernetesClient;
  private asked = 0;

  private constructor(
    private readonly setting: Setting,
    private readonly broker: ChannelModel,
    private readonly approver: ChannelModel,
    private readonly database: Pool,
  ) {
    this.cluster = new KubernetesClient({ kubeconfig: setting.kubeconfig });
  }

  static async at(setting: Setting): Promise<Customers> {
    const [broker, approver] = [await connect(setting.signup), await connect(setting.lifecycle)];
    return new Customers(setting, broker, approver, new Pool({ connectionString: setting.database, max: 4 }));
  }

  async leave(): Promise<void> {
    await Promise.all([this.broker.close(), this.approver.close(), this.database.end(), this.cluster.close()]);
    await this.agent.close();
  }

  /** One after the other; those of a plan with spares wait, unmeasured, until there is one. */
  singles(plan: string) {
    return async (n: number): Promise<Measured> => {
      const took: number[] = [];
      const made: string[] = [];
      for (let count = 0; count < n; count++) {
        if (plan === withSpares) await this.spareAtHand();
        const begun = performance.now();
        const { instanceId, host } = await this.ask(plan);
        await this.answered(host);
        took.push(performance.now() - begun);
        made.push(instanceId);
      }
      await this.end(made, plan === withSpares ? 'spare' : 'new');
      return summary(took);
    };
  }

  bursts(plan: string) {
    return async (n: number): Promise<Measured> => {
      const took: number[] = [];
      for (let count = 0; count < n; count += atOnce) {
        const begun = performance.now();
        const made = await Promise.all(
          Array.from({ length: Math.min(atOnce, n - count) }, async () => {
            const { instanceId, host } = await this.ask(plan);
            await this.answered(host);
            took.push(performance.now() - begun);
            return instanceId;
          }),
        );
        await this.end(made, 'new');
      }
      return summary(took);
    };
  }

  /** What a start costs by itself. */
  starts() {
    return async (n: number): Promise<Measured> => {
      const { instanceId, host } = await this.ask(withoutSpares);
      await this.answered(host);
      const { placed, footprint_id } = await this.footprintOf(instanceId);
      const deployment = {
        kind: 'Deployment',
        namespace: placed.namespace,
        name: `o${footprint_id.replaceAll('-', '')}`,
      };
      const took: number[] = [];
      for (let count = 0; count < n; count++) {
        await this.cluster.merge(deployment, { spec: { replicas: 0 } }, 'bench');
        const gone = async () =>
          (await this.cluster.list('Pod', placed.namespace, `mesh.odoo/footprint=${footprint_id}`)).length === 0;
        await waitFor('its pod to be gone', gone, { timeoutMs: withinMs });
        const begun = performance.now();
        await this.cluster.merge(deployment, { spec: { replicas: 1 } }, 'bench');
        await this.answered(host);
        took.push(performance.now() - begun);
      }
      await this.end([instanceId], 'new');
      return summary(took);
    };
  }

  private async ask(plan: string): Promise<{ instanceId: string; host: string }> {
    const instanceId = newId();
    const slug = `i${process.pid}-${this.asked++}`;
    const { id, odooVersion } = { id: newId(), odooVersion: '18.0' };
    const data = {
      instanceId,
      slug,
      customerId: 'c-1042',
      plan,
      odooVersion,
      company: 'ACME Ltd',
      adminLogin: 'o@acme.example',
    };
    const envelope = { specversion: '1.0', id, source: 'signup', type: 'mesh.instance.requested.v1', data };
    await publish(this.broker, 'instance.requested.v1', envelope, {});
    return { instanceId, host: `${slug}.localhost` };
  }

  private async answered(host: string): Promise<void> {
    const look = async () => {
      const { statusCode, body } = await this.agent.request({
        origin: this.setting.router,
        path: '/web/login',
        method: 'GET',
        headers: { host },
      });
      await body.dump();
      return statusCode === 200;
    };
    await waitFor(`${host} to answer`, look, { timeoutMs: withinMs, intervalMs: betweenLooksMs });
  }

  private async spareAtHand(): Promise<void> {
    const look = async () =>
      (await this.database.query(`SELECT 1 FROM capacity_planner.spare WHERE state = 'ready'`)).rows.length > 0;
    await waitFor('a spare at hand', look, { timeoutMs: withinMs });
  }

  private async footprintOf(instanceId: string) {
    const { rows } = await this.database.query(
      'SELECT footprint_id, state, placed FROM provisioner.footprint WHERE instance_id = $1',
      [instanceId],
    );
    return rows[0];
  }

  /** Purged, all of them, and gone. Throws when one was not made as it was meant to be. */
  private async end(made: readonly string[], claim: string): Promise<void> {
    for (const instanceId of made) {
      const ready = async () => (await this.footprintOf(instanceId)).state === 'ready';
      await waitFor(`${instanceId} to be Ready`, ready, { timeoutMs: withinMs });
      const { footprint_id: footprintId, placed } = await this.footprintOf(instanceId);
      if (placed.claim !== claim) throw new Error(`${instanceId} is ${placed.claim}, and was to be ${claim}`);
      const { cell, databaseShard } = placed;
      const [id, backupId, approvalId] = [newId(), newId(), newId()];
      const expiresAt = new Date(Date.now() + withinMs).toISOString();
      const data = {
        instanceId,
        footprintId,
        cell,
        databaseShard,
        database: footprintNames(this.setting.lifecycleUser.replace(/-lifecycle$/, ''), footprintId).database,
        backupId,
        approvalId,
        expiresAt,
      };
      const about = { subject: instanceId, sequence: Date.now() };
      const type = 'mesh.instance.purge-approved.v1';
      const envelope = { specversion: '1.0', id, source: 'lifecycle', type, ...about, data };
      await publish(this.approver, 'instance.purge-approved.v1', envelope, { userId: this.setting.lifecycleUser });
    }
    for (const instanceId of made) {
      const removed = async () => (await this.footprintOf(instanceId)).state === 'removed';
      await waitFor(`${instanceId} to be gone`, removed, { timeoutMs: withinMs });
    }
  }
}

async function publish(
  broker: ChannelModel,
  key: string,
  envelope: object,
  options: { userId?: string },
): Promise<void> {
  const channel = await broker.createConfirmChannel();
  const sent = { persistent: true, contentType: 'application/cloudevents+json', ...options };
  channel.publish('mesh.events', key, Buffer.from(JSON.stringify(envelope)), sent);
  await channel.waitForConfirms();
  await channel.close();
}

/** Nearest rank, so that each figure is one that was measured. */
function summary(took: readonly number[]): Measured {
  const sorted = [...took].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!;
  return { p50Ms: at(0.5), p95Ms: at(0.95), slowestMs: sorted.at(-1)! };
}
