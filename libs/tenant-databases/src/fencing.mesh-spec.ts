import { createServer, connect as dial, type Socket } from 'node:net';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { Client } from 'pg';
import { createTestShard, type TestShard } from '#testing/test-shard.js';
import { waitFor } from '#testing/wait-for.js';
import { TenantDatabaseError } from './errors.js';
import { fenceTenant, setTenantConnectionLimit } from './fencing.js';
import { cloneTemplate, ensureTenantRole, type Tenant } from './tenant.js';

let server: TestShard;

beforeAll(async () => {
  server = await createTestShard('CREATE TABLE written (at timestamptz NOT NULL)');
});
afterAll(() => server?.drop());

const old = 'the-old-password';
const fresh = 'the-new-password';

async function newTenant(): Promise<Tenant> {
  const tenant = server.newTenant();
  await ensureTenantRole(server.shard, tenant, { password: old, connectionLimit: 10 });
  await cloneTemplate(server.shard, tenant, server.template);
  return tenant;
}

async function connected(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => {});
  await client.connect();
  return client;
}

const rowsOf = async (tenant: Tenant) =>
  (await server.administrate<{ n: number }>('SELECT count(*)::int AS n FROM written', [], tenant.name))[0]!.n;

const sessionsOf = async ({ name }: Tenant) =>
  (await server.administrate('SELECT 1 FROM pg_stat_activity WHERE usename = $1', [name])).length;

/** Writes a row with each connection, and comes again at once whatever ends it, as a pod on a lost node would. */
class Writer {
  refused = 0;
  private stopped = false;
  private readonly done: Promise<void>;

  constructor(private readonly url: string) {
    this.done = this.run();
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.done;
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      try {
        const client = await connected(this.url);
        try {
          for (let n = 0; n < 5; n += 1) await client.query('INSERT INTO written VALUES (clock_timestamp())');
        } finally {
          await client.end().catch(() => {});
        }
      } catch (error) {
        if ((error as { code?: string }).code === '28P01') this.refused += 1;
      }
    }
  }
}

test('who keeps coming back with the old password has written for the last time when the fence stands', async () => {
  const tenant = await newTenant();
  const writers = Array.from({ length: 4 }, () => new Writer(server.urlOf(tenant, old)));
  const elsewhere = await connected(server.urlOf(tenant, old, 'postgres'));
  try {
    await waitFor('rows', async () => (await rowsOf(tenant)) > 20);
    await fenceTenant(server.shard, tenant, fresh);
    const rows = await rowsOf(tenant);
    expect(await sessionsOf(tenant)).toBe(0);
    await expect(elsewhere.query('SELECT 1')).rejects.toThrow();
    const refused = writers.map((writer) => writer.refused);
    await waitFor('each of them to be refused', () => writers.every((one, at) => one.refused > refused[at]! + 5));
    expect(await rowsOf(tenant)).toBe(rows);
    // Once more, as after a death, and by who has the new password.
    await fenceTenant(server.shard, tenant, fresh);
    const newcomer = await connected(server.urlOf(tenant, fresh));
    await newcomer.query('INSERT INTO written VALUES (now())');
    await newcomer.end();
    expect(await rowsOf(tenant)).toBe(rows + 1);
  } finally {
    await Promise.all(writers.map((writer) => writer.stop()));
    await elsewhere.end().catch(() => {});
  }
});

/** Lets a client's first message through, for which the server reads the password, and holds the others back. */
async function slowDoor(url: string) {
  const { hostname, port } = new URL(url);
  const open = Promise.withResolvers<void>();
  const held = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  const door = createServer((client) => {
    const target = dial(Number(port), hostname);
    sockets.push(client, target);
    for (const socket of [client, target]) socket.on('error', () => socket.destroy());
    target.pipe(client);
    let messages = 0;
    client.on('data', async (data) => {
      messages += 1;
      if (messages > 1) {
        held.resolve();
        await open.promise;
      }
      target.write(data);
    });
    client.on('close', () => target.destroy());
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const through = new URL(url);
  through.port = String((door.address() as { port: number }).port);
  return {
    url: through.toString(),
    held: held.promise,
    open: () => open.resolve(),
    close() {
      for (const socket of sockets) socket.destroy();
      door.close();
    },
  };
}

test('a log-in that has begun before the password was changed is waited for, and ended', async () => {
  const tenant = await newTenant();
  const door = await slowDoor(server.urlOf(tenant, old));
  try {
    const late = new Client({ connectionString: door.url });
    late.on('error', () => {});
    let entered = false;
    const ended = late.connect().then(
      async () => {
        entered = true;
        await late.query('SELECT pg_sleep(60)');
      },
      () => {},
    );
    ended.catch(() => {});
    await door.held;
    let fenced = false;
    const fence = fenceTenant(server.shard, tenant, fresh).then(() => {
      fenced = true;
    });
    await waitFor('the new password', async () => {
      const newcomer = await connected(server.urlOf(tenant, fresh)).catch(() => undefined);
      await newcomer?.end().catch(() => {});
      return newcomer !== undefined;
    });
    expect(fenced).toBe(false);
    door.open();
    await fence;
    expect(entered).toBe(true);
    expect(await sessionsOf(tenant)).toBe(0);
    await expect(ended).rejects.toThrow();
  } finally {
    door.close();
  }
});

test('the limit of connections holds from the next one on', async () => {
  const tenant = await newTenant();
  await setTenantConnectionLimit(server.shard, tenant, 1);
  const first = await connected(server.urlOf(tenant, old));
  try {
    await expect(connected(server.urlOf(tenant, old))).rejects.toThrow(/too many connections/);
    await setTenantConnectionLimit(server.shard, tenant, 2);
    await (await connected(server.urlOf(tenant, old))).end();
  } finally {
    await first.end();
  }
});

test.each([
  ['no role', async () => server.newTenant(), 'TENANT_MISSING'],
  ['the role of another footprint', async () => ({ ...(await newTenant()), footprintId: 'x' }), 'FOREIGN_OBJECT'],
] as const)('where there is %s nothing is changed', async (_, make, code) => {
  const tenant = await make();
  for (const change of [fenceTenant(server.shard, tenant, fresh), setTenantConnectionLimit(server.shard, tenant, 1)]) {
    const error = await change.catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(TenantDatabaseError);
    expect(error).toMatchObject({ code, retryable: false });
  }
});
