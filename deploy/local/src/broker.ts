import { execFile } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Processes } from './processes.js';
import type { State } from './state.js';
import { waitForServer } from './wait.js';

/** Where the distribution keeps RabbitMQ. */
export interface BrokerTools {
  readonly server: string;
  readonly epmd: string;
}

export interface BrokerAddress {
  readonly url: string;
  readonly managementUrl: string;
}

/**
 * RabbitMQ as a process of ours: own node, cookie, ports and data below `<state>/broker`, nothing but the loopback, one
 * administrator with a random password and no guest. Resolves when AMQP and the management API answer.
 */
export async function startBroker(state: State, tools: BrokerTools): Promise<BrokerAddress> {
  const { processes } = state;
  const initialised = state.path('broker', 'initialised');
  if (!processes.alive('broker')) {
    await processes.kill('broker-epmd');
    const folder = state.path('broker');
    // A first boot that was cut short may leave a database without its user: begin again.
    if (!existsSync(initialised)) rmSync(folder, { recursive: true, force: true });
    await start(state, tools, folder);
  }
  await waitForServer(processes, 'broker', 120_000, () => answers(state));
  writeFileSync(initialised, '');
  return brokerAddress(state);
}

/** An orderly end takes the broker six seconds, which its data is worth unless it is deleted next. */
export async function stopBroker(state: State, { wipe }: { wipe: boolean }): Promise<void> {
  await (wipe ? state.processes.kill('broker') : state.processes.stop('broker', 30_000));
  await state.processes.stop('broker-epmd', 5_000);
}

/** For tests of faults: `rabbitmqctl` on the broker of a state folder. Resolves to what it prints. */
export async function controlBroker(state: string, args: readonly string[]): Promise<string> {
  const { command, env, cwd } = new Processes(state).specOf('broker');
  const { stdout } = await promisify(execFile)(join(dirname(command), 'rabbitmqctl'), args, { env, cwd });
  return stdout.trim();
}

function brokerAddress(state: State): BrokerAddress {
  const user = `admin:${state.secret('broker')}`;
  return {
    url: `amqp://${user}@127.0.0.1:${state.keptPort('broker')}`,
    managementUrl: `http://${user}@127.0.0.1:${state.keptPort('broker-management')}`,
  };
}

async function start(state: State, tools: BrokerTools, folder: string): Promise<void> {
  const amqp = await state.port('broker');
  const management = await state.port('broker-management');
  const distribution = await state.port('broker-distribution');
  const epmd = await state.port('broker-epmd');
  const file = (name: string) => state.path('broker', name);

  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writePrivate(
    file('rabbitmq.conf'),
    `listeners.tcp.1 = 127.0.0.1:${amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = ${management}
default_user = admin
default_pass = ${state.secret('broker')}
log.console = true
log.console.level = info
log.file = false
`,
  );
  writePrivate(file('enabled_plugins'), '[rabbitmq_management].\n');
  writePrivate(file('rabbitmq-env.conf'), ''); // in place of the machine's own, as is the next
  writePrivate(file('advanced.config'), '[].\n');
  writePrivate(file('.erlang.cookie'), state.secret('broker-cookie'), 0o400);

  // The server would start a port mapper that outlives it and belongs to nobody; so it finds ours.
  const common = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', HOME: folder };
  await state.processes.start({
    name: 'broker-epmd',
    command: tools.epmd,
    args: ['-address', '127.0.0.1', '-port', String(epmd)],
    env: common,
    cwd: folder,
  });
  await state.processes.start({
    name: 'broker',
    command: tools.server,
    args: [],
    env: {
      ...common,
      RUNNING_UNDER_SYSTEMD: 'true', // the start script becomes the server, so that the pid is the server's
      RABBITMQ_NODENAME: 'mesh@localhost',
      RABBITMQ_CONFIG_FILE: file('rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: file('rabbitmq-env.conf'),
      RABBITMQ_ADVANCED_CONFIG_FILE: file('advanced.config'),
      RABBITMQ_ENABLED_PLUGINS_FILE: file('enabled_plugins'),
      RABBITMQ_MNESIA_BASE: file('data'),
      RABBITMQ_LOG_BASE: file('log'),
      RABBITMQ_PID_FILE: file('pid'),
      RABBITMQ_GENERATED_CONFIG_DIR: file('config'),
      RABBITMQ_DIST_PORT: String(distribution),
      ERL_EPMD_ADDRESS: '127.0.0.1',
      ERL_EPMD_PORT: String(epmd),
      // No busy waiting: the schedulers of a broker at rest would take a good part of two cores.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        '-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none',
    },
    cwd: folder,
  });
}

async function answers(state: State): Promise<boolean> {
  const { managementUrl } = brokerAddress(state);
  const { username, password, origin } = new URL(managementUrl);
  const check = `/api/health/checks/port-listener/${state.keptPort('broker')}`;
  const response = await fetch(origin + check, {
    headers: { authorization: `Basic ${btoa(`${username}:${password}`)}` },
    signal: AbortSignal.timeout(5_000),
  });
  await response.body?.cancel();
  return response.ok;
}

function writePrivate(file: string, content: string, mode = 0o600): void {
  rmSync(file, { force: true });
  writeFileSync(file, content, { mode });
  chmodSync(file, mode);
}
