import { type ChannelModel, connect } from 'amqplib';
import { newId } from '#contracts/index.js';

/** What was said about a backup or a restore, with the moment when it was said, in ms since 1970. */
export interface Said {
  readonly fact: string;
  readonly at: number;
  // biome-ignore lint/suspicious/noExplicitAny: that is what being a stranger means
  readonly data: any;
}

export interface Tenant {
  readonly instanceId: string;
  readonly database: string;
  readonly role: string;
  readonly footprintId: string;
  readonly cell: string;
  readonly namespace: string;
  readonly volumeClaim: string;
}

export const customerId = 'c-1042';
const bad = /^(instance\.(refused|provisioning-failed|operation-failed)|(backup|restore)\.(refused|failed))$/;

/** Somebody who wants instances, backups of them and restores, and hears what becomes of it. */
export class BackupCustomer {
  private heard: (said: Said) => void = () => {};
  private readonly known = new Set<string>();

  private constructor(
    private readonly asking: ChannelModel,
    private readonly listening: ChannelModel,
  ) {}

  /** @param listenUrl of a user who may listen to everything. */
  static async connect(askUrl: string, listenUrl: string): Promise<BackupCustomer> {
    const [asking, listening] = await Promise.all([connect(askUrl), connect(listenUrl)]);
    const customer = new BackupCustomer(asking, listening);
    await customer.listen();
    return customer;
  }

  /** Resolves when all of them run. */
  async instances(n: number): Promise<Tenant[]> {
    const made = new Map<string, Tenant>();
    const running = new Set<string>();
    const requests = Array.from({ length: n }, (_, index) => ({
      ...{ instanceId: newId(), slug: `bench-${index}`, customerId, plan: 'starter', odooVersion: '18.0' },
      ...{ bundle: 'apps', company: 'ACME Ltd', adminLogin: 'owner@acme.example' },
    }));
    await this.until('instance.requested.v1', requests, ({ fact, data }) => {
      const { instanceId, database, role, footprintId, cell, namespace, volumeClaim } = data;
      if (fact === 'instance.ready')
        made.set(instanceId, { instanceId, database, role, footprintId, cell, namespace, volumeClaim });
      if (fact === 'instance.state-changed' && data.state === 'running') running.add(instanceId);
      return made.size === n && running.size >= n;
    });
    return [...made.values()];
  }

  /**
   * One of each instance, all at once. Resolves when all are completed; rejects when one fails.
   * @returns their ids, in the order of the instances.
   */
  async backups(
    instances: readonly string[],
    why: 'manual' | 'pre-upgrade',
    told: () => void = () => {},
  ): Promise<string[]> {
    const requests = instances.map((instanceId) => ({ backupId: newId(), instanceId, why }));
    const backupIds = requests.map(({ backupId }) => backupId);
    const open = new Set(backupIds);
    await this.until('backup.requested.v1', requests, ({ fact, data }) => {
      if (fact === 'backup.completed' && open.delete(data.backupId)) told();
      return open.size === 0;
    });
    return backupIds;
  }

  /** Lets proofs begin; resolves when each of these backups is verified. @returns what was said of them. */
  async proofs(backupIds: readonly string[], begin: () => Promise<void>): Promise<Said[]> {
    const open = new Set(backupIds);
    const all: Said[] = [];
    const done = this.hear((said) => {
      if (said.fact === 'backup.verified' && open.delete(said.data.backupId)) all.push(said);
      return open.size === 0;
    });
    await Promise.all([done, begin()]);
    return all;
  }

  /** @returns all that was said, the completion last. */
  async restore(instanceId: string, backupId: string, mode: 'in-place'): Promise<Said[]> {
    const restoreId = newId();
    const all: Said[] = [];
    await this.until('restore.requested.v1', [{ restoreId, instanceId, backupId, mode, reason: 'a bench' }], (said) => {
      if (said.data.restoreId === restoreId) all.push(said);
      return all.at(-1)?.fact === 'restore.completed';
    });
    return all;
  }

  async close(): Promise<void> {
    await Promise.all([this.asking.close(), this.listening.close()]);
  }

  private hear(done: (said: Said) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.heard = (said) => {
        if (bad.test(said.fact)) reject(new Error(`${said.fact}: ${said.data.code} ${said.data.message}`));
        else if (done(said)) resolve();
      };
    });
  }

  private async until(key: string, requests: readonly object[], done: (said: Said) => boolean): Promise<void> {
    const all = this.hear(done);
    const channel = await this.asking.createConfirmChannel();
    const time = new Date().toISOString();
    for (const data of requests) {
      const message = { specversion: '1.0', id: newId(), source: 'signup', type: `mesh.${key}`, time, data };
      channel.publish('mesh.events', key, Buffer.from(JSON.stringify(message)), {
        persistent: true,
        contentType: 'application/cloudevents+json',
      });
    }
    await Promise.all([channel.waitForConfirms(), all]);
    await channel.close();
  }

  private async listen(): Promise<void> {
    const channel = await this.listening.createChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true });
    for (const about of ['instance', 'backup', 'restore']) await channel.bindQueue(queue, 'mesh.events', `${about}.#`);
    await channel.consume(
      queue,
      (message) => {
        const { id, time, data } = JSON.parse(message!.content.toString());
        // What is said again is the same message.
        if (this.known.has(id)) return;
        this.known.add(id);
        const fact = message!.fields.routingKey.replace(/\.v\d+$/, '');
        this.heard({ fact, at: Date.parse(time), data });
      },
      { noAck: true },
    );
  }
}
