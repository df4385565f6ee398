import { afterAll, beforeAll, describe, expect, it, test } from '@jest/globals';
import type { V1Pod, V1PodSpec, V1ResourceQuota } from '@kubernetes/client-node';
import { Forbidden, type KubernetesObject, type ObjectRef } from '#kubernetes/index.js';
import { installMesh } from '#local/mesh-install.js';
import { waitFor } from '#testing/wait-for.js';
import { stackEnvironment } from '../e2e/config.js';
import { TestMesh } from '../e2e/test-mesh.js';
import { type Ended, executeIn, LivingInstance } from './living-instance.js';

/** Whoever finds one of these has learnt who a neighbour is. */
const customer = {
  slug: 'northwind',
  company: 'Northwind Traders',
  customerId: 'c-7717-nw',
  adminLogin: 'nancy@nw.example',
};

let mesh: TestMesh;
/** Each rule is tried from its side. */
let tenant: LivingInstance;
let neighbour: LivingInstance;
let namespace: string;
/** A pod of no instance, in a namespace without policies. */
let stranger: { readonly namespace: string; readonly name: string };

beforeAll(async () => {
  mesh = await TestMesh.start();
  [tenant, neighbour] = (await LivingInstance.make(mesh, { slug: 'tenant', plan: 'trial' }, customer)) as [
    LivingInstance,
    LivingInstance,
  ];
  ({ namespace } = tenant.ready);
  stranger = { namespace: `${mesh.name}-system`, name: 'stranger' };
  const { name, image } = (await tenant.pod()).spec!.containers[0]!;
  const command = ['python3', '-c', 'import signal; signal.pause()'];
  await mesh.cluster.create(pod(stranger, { containers: [{ name, image, command }] }), 'test');
});
afterAll(async () => {
  await mesh?.stop();
});

const pod = (metadata: { namespace: string; name: string }, spec: V1PodSpec): V1Pod & KubernetesObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata,
  spec,
});

/** Takes a rule away for as long as `work` takes. */
async function without<T>(rules: readonly ObjectRef[], work: () => Promise<T>): Promise<T> {
  const taken: KubernetesObject[] = [];
  try {
    for (const rule of rules) {
      const object = (await mesh.cluster.get(rule))!;
      taken.push(object);
      await mesh.cluster.delete(rule, { uid: object.metadata!.uid! });
    }
    return await work();
  } finally {
    for (const { metadata, ...object } of taken) {
      const { name, labels } = metadata!;
      await mesh.cluster.create({ ...object, metadata: { name: name!, namespace, labels: labels! } }, 'test');
    }
  }
}

describe('the network', () => {
  /** `silence`: no answer in three seconds, while the others had theirs. */
  type Found = Readonly<Record<string, 'open' | 'refused' | 'silence'>>;
  const look = `
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def look(target):
    try:
        socket.create_connection(target, 3).close()
        return 'open'
    except ConnectionRefusedError:
        return 'refused'
    except TimeoutError:
        return 'silence'
targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(zip(targets, pool.map(look, map(tuple, targets.values()))))))`;

  async function targets(): Promise<Record<string, readonly [string, number]>> {
    const { MESH_NODE_ADDRESS, MESH_POSTGRES_URL, MESH_RABBITMQ_URL, MESH_ROUTER_URL } = stackEnvironment();
    const node = (url: string | URL) => [MESH_NODE_ADDRESS!, Number(new URL(url).port)] as const;
    return {
      'the server of names': [MESH_NODE_ADDRESS!, 53],
      'the database server': node(MESH_POSTGRES_URL),
      'the neighbour': [(await neighbour.pod()).status!.podIP!, 8069],
      'the API server': node(mesh.cluster.server.url),
      'its Service': ['10.43.0.1', 443],
      'the kubelet': [MESH_NODE_ADDRESS!, 10_250],
      'the router': node(MESH_ROUTER_URL!),
      'its own API': [MESH_NODE_ADDRESS!, 9_080],
      'the broker': node(MESH_RABBITMQ_URL),
      'the gateway': node(mesh.services.url('api-gateway')),
    };
  }
  const found = ({ code, stdout, stderr }: Ended): Found => {
    if (code !== 0) throw new Error(stderr);
    return JSON.parse(stdout);
  };
  const fromTenant = async () => found(await tenant.execute('python3', '-c', look, JSON.stringify(await targets())));
  const fromStranger = async () =>
    found(
      await executeIn({ ...stranger, container: 'odoo' }, ['python3', '-c', look, JSON.stringify(await targets())]),
    );

  const only = (...open: readonly string[]) =>
    expect.objectContaining({
      ...Object.fromEntries(silent.map((name) => [name, 'silence'])),
      ...Object.fromEntries(open.map((name) => [name, 'open'])),
    });
  const silent = [
    'the database server',
    'the neighbour',
    'the API server',
    'its Service',
    'the kubelet',
    'the router',
    'its own API',
    'the broker',
    'the gateway',
  ];
  /** Nobody listens there but on the node's loopback; an answer of the node all the same. */
  const everything = {
    ...Object.fromEntries(silent.map((name) => [name, 'open'])),
    'the server of names': 'open',
    'its own API': 'refused',
    'the broker': 'refused',
    'the gateway': 'refused',
  };

  it('lets an instance reach names and its database server, and nothing else that is inside', async () => {
    expect(await fromTenant()).toEqual(only('the server of names', 'the database server'));
    const names = 'import socket; print(socket.gethostbyname("kubernetes.default.svc.cluster.local"))';
    expect((await tenant.execute('python3', '-c', names)).stdout).toBe('10.43.0.1\n');
  });

  it('lets nobody reach an instance but the router', async () => {
    const seen = await waitFor('the pod of no instance', fromStranger);
    expect(seen).toEqual({ ...everything, 'the neighbour': 'silence' });
    expect(await neighbour.page()).toMatchObject({ status: 200 });
  });

  it('is closed by the policies of the cell, and by nothing else', async () => {
    const policy = (name: string) => ({ kind: 'NetworkPolicy', name, namespace });
    await without([policy('odoo')], async () => {
      await waitFor('nothing but names', async () => only('the server of names').asymmetricMatch(await fromTenant()));
    });
    await without([policy('odoo'), policy('default-deny')], async () => {
      await waitFor('everything', async () => (await fromTenant())['the neighbour'] === 'open');
      expect([await fromTenant(), await fromStranger()]).toEqual([everything, everything]);
    });
    const closed = only('the server of names', 'the database server');
    await waitFor('the policies again', async () => closed.asymmetricMatch(await fromTenant()));
  });
});

describe('the database server', () => {
  /** What the tenant's role gets: `done`, or the server's code of refusal. */
  async function attempts(): Promise<Record<string, string>> {
    const outcome = async (database: string, sql: string) => {
      try {
        await tenant.asTenant(database, (client) => client.query(sql));
        return 'done';
      } catch (error) {
        return (error as { code?: string }).code ?? String(error);
      }
    };
    const planted = `${mesh.name}_planted`;
    const inPostgres = {
      'to wait for a notice': 'LISTEN cron_trigger',
      'a table': 'CREATE TABLE planted (n int)',
      'a table for a while': 'CREATE TEMPORARY TABLE planted_for_a_while (n int)',
      'a large object': 'SELECT lo_create(0)',
      'a large object with content': `SELECT lo_from_bytea(0, 'planted')`,
      // By this name the mesh sees to it that one at a time makes or removes the neighbour.
      'the lock on the neighbour': `SELECT pg_advisory_lock(hashtextextended('${neighbour.ready.database}', 0))`,
      'a shared lock': 'SELECT pg_try_advisory_xact_lock_shared(1, 2)',
      'a database': `CREATE DATABASE ${planted}`,
      'a copy of a template': `CREATE DATABASE ${planted} TEMPLATE ${neighbour.ready.template.database}`,
      'a role': `CREATE ROLE ${planted}`,
      'the neighbour’s role': `SET ROLE ${neighbour.ready.role}`,
      'the mesh’s role': `SET ROLE ${mesh.name}_shard`,
      'the hashes of passwords': 'SELECT rolpassword FROM pg_authid',
      'a file of the server': `SELECT pg_read_file('/etc/hostname')`,
      'a program on the server': `COPY (SELECT 1) TO PROGRAM 'cat'`,
      // Not what ends it: the neighbour is needed.
      'the end of what the neighbour does': `SELECT pg_cancel_backend(pid) FROM pg_stat_activity
        WHERE usename = '${neighbour.ready.role}'`,
    };
    const seen: Record<string, string> = {
      'its own database': await outcome(tenant.ready.database, 'CREATE TABLE own (n int); DROP TABLE own'),
      'the neighbour’s database': await outcome(neighbour.ready.database, 'SELECT 1'),
      'the template': await outcome(tenant.ready.template.database, 'SELECT 1'),
      'the mesh’s database': await outcome(`${mesh.name}_mesh`, 'SELECT 1'),
      template1: await outcome('template1', 'SELECT 1'),
    };
    for (const [name, sql] of Object.entries(inPostgres)) {
      seen[name] = await outcome('postgres', sql);
      await mesh.sql(`DROP DATABASE IF EXISTS ${planted}`, [], 'postgres');
    }
    await mesh.sql(
      `DROP TABLE IF EXISTS planted; DROP ROLE IF EXISTS ${planted};
       SELECT lo_unlink(oid) FROM pg_largeobject_metadata`,
      [],
      'postgres',
    );
    return seen;
  }

  const refused = '42501';
  const allowed = { 'its own database': 'done', 'to wait for a notice': 'done' };
  const expected = (rest: string) => ({
    ...Object.fromEntries(
      [
        'the neighbour’s database',
        'the template',
        'the mesh’s database',
        'template1',
        'a table',
        'a table for a while',
        'a large object',
        'a large object with content',
        'the lock on the neighbour',
        'a shared lock',
        'a database',
        'a copy of a template',
        'a role',
        'the neighbour’s role',
        'the mesh’s role',
        'the hashes of passwords',
        'a file of the server',
        'a program on the server',
        'the end of what the neighbour does',
      ].map((name) => [name, rest]),
    ),
    ...allowed,
  });

  it('gives a tenant its own database and notices, and nothing of anybody else', async () => {
    // 55000: nobody may connect to a template, whoever he is.
    expect(await attempts()).toEqual({ ...expected(refused), 'the template': '55000' });
  });

  it('refuses by what the installation takes away, and refuses again after it was repeated', async () => {
    const { role, template } = tenant.ready;
    await mesh.sql(
      `GRANT CONNECT ON DATABASE ${neighbour.ready.database}, ${template.database}, ${mesh.name}_mesh, template1 TO PUBLIC;
       ALTER DATABASE ${template.database} ALLOW_CONNECTIONS true;
       GRANT TEMPORARY ON DATABASE postgres TO PUBLIC;
       ALTER ROLE ${role} SUPERUSER`,
      [],
      'postgres',
    );
    expect(await attempts()).toEqual(expected('done'));
    await mesh.sql(
      `ALTER ROLE ${role} NOSUPERUSER CREATEDB CREATEROLE;
       GRANT CREATE ON SCHEMA public TO PUBLIC;
       DO $$ DECLARE one regprocedure; BEGIN
         FOR one IN SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
           AND (proname ~ '^pg_(try_)?advisory' OR proname ~ '^lo_(creat|from)') LOOP
           EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', one);
         END LOOP; END $$`,
      [],
      'postgres',
    );
    // No more than a server grants by default, and what is taken from the role: what needs a superuser is refused again.
    const open = [
      ...['the neighbour’s database', 'the template', 'the mesh’s database', 'template1'],
      ...['a table', 'a table for a while', 'a large object', 'a large object with content'],
      ...['the lock on the neighbour', 'a shared lock', 'a database', 'a copy of a template', 'a role'],
    ];
    expect(await attempts()).toEqual({
      ...expected(refused),
      ...Object.fromEntries(open.map((name) => [name, 'done'])),
    });

    await mesh.sql(
      `REVOKE CONNECT ON DATABASE ${neighbour.ready.database}, ${template.database}, ${mesh.name}_mesh FROM PUBLIC;
       ALTER DATABASE ${template.database} ALLOW_CONNECTIONS false;
       ALTER ROLE ${role} NOCREATEDB NOCREATEROLE`,
      [],
      'postgres',
    );
    await installMesh(mesh.installed.plan);
    expect(await attempts()).toEqual({ ...expected(refused), 'the template': '55000' });
  });

  it('lets no tenant take the connections of all', async () => {
    const limit = 20;
    const crowd = async () => {
      const { promise: looked, resolve } = Promise.withResolvers<void>();
      const connecting = Array.from({ length: limit + 1 }, () => {
        const { promise, resolve: told } = Promise.withResolvers<string>();
        const held = tenant.asTenant('postgres', () => {
          told('done');
          return looked;
        });
        held.catch(({ code }) => told(code));
        return promise;
      });
      const outcomes = await Promise.all(connecting);
      const { status } = await neighbour.page();
      resolve();
      return { outcomes: [...new Set(outcomes)].sort(), status };
    };
    // 53300: too many connections for role.
    expect(await crowd()).toEqual({ outcomes: ['53300', 'done'], status: 200 });
    await mesh.sql(`ALTER ROLE ${tenant.ready.role} CONNECTION LIMIT -1`);
    expect(await crowd()).toEqual({ outcomes: ['done'], status: 200 });
    await mesh.sql(`ALTER ROLE ${tenant.ready.role} CONNECTION LIMIT ${limit}`);
  });
});

describe('who the neighbours are', () => {
  /** All that a tenant can read beyond its own: on the shared server, in its pod, from the server of names. */
  async function visible(): Promise<string> {
    const catalogue = await tenant.asTenant('postgres', async (client) => {
      const rows: unknown[] = [];
      for (const table of ['pg_database', 'pg_roles', 'pg_shdescription', 'pg_db_role_setting', 'pg_stat_activity'])
        rows.push(...(await client.query(`SELECT * FROM ${table}`)).rows);
      return rows;
    });
    const address = (await neighbour.pod()).status!.podIP!;
    const pod = await tenant.execute(
      'python3',
      '-c',
      `import socket; print(open('/proc/1/environ').read(), open('/etc/hosts').read(), open('/proc/mounts').read(),
        socket.gethostbyaddr('${address}'))`,
    );
    if (pod.code !== 0) throw new Error(pod.stderr);
    return JSON.stringify(catalogue) + pod.stdout;
  }

  it('is nowhere to be read', async () => {
    const told = async () => {
      const text = await visible();
      // The name that stands for it does, so we looked in the right places.
      expect(text).toContain(neighbour.ready.database);
      expect(text).toContain(`${neighbour.ready.volumeClaim}.${namespace}.svc`);
      const { instanceId, host } = neighbour.ready;
      return [...Object.values(customer), instanceId, host].filter((one) => text.includes(one));
    };
    expect(await told()).toEqual([]);
    await mesh.sql(`COMMENT ON TABLESPACE pg_default IS 'of ${customer.company}'`);
    expect(await told()).toEqual([customer.company]);
    await mesh.sql('COMMENT ON TABLESPACE pg_default IS NULL');
  });
});

describe('the cell', () => {
  /** Nowhere: admission is all that is asked. */
  const spec = ({ containers: [container], ...rest }: V1PodSpec): V1PodSpec => ({
    nodeSelector: { 'mesh.odoo/node': 'none' },
    securityContext: { runAsNonRoot: true, runAsUser: 10_001, seccompProfile: { type: 'RuntimeDefault' } },
    ...rest,
    containers: [
      {
        image: 'registry.local/pause:1',
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        ...container!,
      },
    ],
  });
  const name = 'main';
  async function admitted(wanted: V1PodSpec): Promise<'admitted' | string> {
    const metadata = { name: 'intruder', namespace };
    const ref = { kind: 'Pod', ...metadata };
    try {
      const made = await mesh.cluster.create(pod(metadata, spec(wanted)), 'test');
      await mesh.cluster.delete(ref, { uid: made.metadata!.uid! });
      await waitFor('the pod to be gone', async () => !(await mesh.cluster.get(ref)));
      return 'admitted';
    } catch (error) {
      if (error instanceof Forbidden) return error.message;
      throw error;
    }
  }
  const setPodSecurity = (level: string) =>
    mesh.cluster.merge(
      { kind: 'Namespace', name: namespace },
      { metadata: { labels: { 'pod-security.kubernetes.io/enforce': level } } },
      'test',
    );

  it('admits a pod that keeps to the rules', async () => {
    expect(await admitted({ containers: [{ name }] })).toBe('admitted');
  });

  test.each<[string, V1PodSpec]>([
    ['all rights', { containers: [{ name, securityContext: { privileged: true } }] }],
    ['root', { containers: [{ name }], securityContext: { runAsUser: 0 } }],
    ['the node’s network', { containers: [{ name }], hostNetwork: true }],
    ['the node’s files', { containers: [{ name }], volumes: [{ name: 'root', hostPath: { path: '/' } }] }],
  ])('admits no pod that wants %s', async (_, wanted) => {
    expect(await admitted(wanted)).toMatch(/violates PodSecurity "restricted/);
    await setPodSecurity('privileged');
    await waitFor('it to be admitted', async () => (await admitted(wanted)) === 'admitted');
    await setPodSecurity('restricted');
    await waitFor('it to be refused', async () => (await admitted(wanted)) !== 'admitted');
  });

  it('admits no container larger than an instance may be', async () => {
    const large = { containers: [{ name, resources: { limits: { memory: '9Gi' } } }] };
    expect(await admitted(large)).toMatch(/maximum memory usage per Container is 8Gi/);
    await without([{ kind: 'LimitRange', name: 'defaults', namespace }], async () => {
      await waitFor('it to be admitted', async () => (await admitted(large)) === 'admitted');
    });
  });

  it('whose quota is used up says so of who waits for it, and the others live on', async () => {
    const fuse = { kind: 'ResourceQuota', name: 'fuse', namespace };
    await mesh.cluster.merge(fuse, { spec: { hard: { pods: '2' } } }, 'test');
    await waitFor('the quota to hold', async () => {
      const quota = await mesh.cluster.get<V1ResourceQuota & KubernetesObject>(fuse);
      return quota?.status?.hard?.pods === '2';
    });
    const late = mesh.request('late');
    await mesh.publish(late);
    const explained = await waitFor('the quota to be named', async () => {
      const { body } = await mesh.api(`/v1/instances/${late.data.instanceId}/explain`);
      return body.reason === 'CELL_FULL' ? body : undefined;
    });
    expect(explained).toMatchObject({ state: 'provisioning', fault: 'platform', waitsFor: 'the quota of its cell' });
    expect([await tenant.page(), await neighbour.page()]).toMatchObject([{ status: 200 }, { status: 200 }]);
    await without([fuse], async () => {
      expect(await mesh.ready(late.data.instanceId)).toMatchObject({ verified: 'http' });
    });
  });
});

describe('what one instance uses up', () => {
  const take = (bytes: number) => `
import os
file = os.open('/var/lib/odoo/large', os.O_CREAT | os.O_WRONLY)
try:
    os.posix_fallocate(file, 0, ${bytes})
    print('taken')
except OSError as error:
    print(error.strerror)`;
  const write = `open('/var/lib/odoo/small', 'wb').write(bytes(1 << 20))`;
  const GiB = 2 ** 30;

  it('of its volume is its own, and not more than it has', async () => {
    expect((await tenant.execute('python3', '-c', take(2 * GiB))).stdout).toBe('No space left on device\n');
    const full = await tenant.execute('python3', '-c', write);
    expect([full.code, full.stderr]).toEqual([1, expect.stringContaining('No space left on device')]);
    // The neighbour's plan has ten.
    expect((await neighbour.execute('python3', '-c', take(2 * GiB))).stdout).toBe('taken\n');
    expect((await neighbour.execute('python3', '-c', write)).code).toBe(0);
    expect(await neighbour.page()).toMatchObject({ status: 200 });

    await tenant.execute('rm', '/var/lib/odoo/large');
    expect((await tenant.execute('python3', '-c', write)).code).toBe(0);
    expect(await tenant.page()).toMatchObject({ status: 200 });
  });

  it('of processes and threads has an end', async () => {
    const crowd = `
import threading
threading.stack_size(64 << 10)
stay = threading.Event()
begun = 0
try:
    while begun < 2000:
        threading.Thread(target=stay.wait, daemon=True).start()
        begun += 1
    print('no end')
except RuntimeError as error:
    print(error)`;
    expect((await tenant.execute('python3', '-c', crowd)).stdout).toBe("can't start new thread\n");
    expect([await tenant.page(), await neighbour.page()]).toMatchObject([{ status: 200 }, { status: 200 }]);
  });

  it('of memory ends that instance alone, and it comes back', async () => {
    const answers: number[] = [];
    const askNeighbour = async () => void answers.push((await neighbour.page()).status);
    await tenant.setFaults('memory');
    const ended = await waitFor(
      'the kernel to end it',
      async () => {
        await Promise.all([tenant.page().catch(() => {}), tenant.page().catch(() => {}), askNeighbour()]);
        const [status] = (await tenant.pod()).status!.containerStatuses!;
        return status!.restartCount > 0 && status!.lastState?.terminated;
      },
      { timeoutMs: 60_000 },
    );
    expect(ended).toMatchObject({ reason: 'OOMKilled', exitCode: 137 });
    await tenant.setFaults();
    const again = async () => {
      await askNeighbour();
      return (await tenant.page()).status === 200;
    };
    await waitFor('it to answer again', again, { timeoutMs: 60_000 });
    expect(new Set(answers)).toEqual(new Set([200]));

    // All the memory of the tenant's plan, and the neighbour's has twice as much.
    await neighbour.setFaults('memory');
    for (let taken = 0; taken < 12; taken += 1) expect(await neighbour.page()).toMatchObject({ status: 200 });
    await neighbour.setFaults();
    expect((await neighbour.pod()).status!.containerStatuses).toMatchObject([{ restartCount: 0 }]);
  });
});
