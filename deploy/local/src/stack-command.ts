import { parseArgs } from 'node:util';
import type { LocalConfig } from './config.js';
import { formatEnv } from './env-file.js';
import { ownerOf, setOwner } from './owner.js';
import { Stack } from './stack.js';
import { State } from './state.js';
import { say } from './terminal.js';

export const stack = {
  help: `npm run stack [-- --yes]

Starts broker, database, cluster, S3 and Jaeger, prints their environment file and leaves them running in the background.
Running it again starts only what does not run. Its nodes are simulated; npm run up has a real one where it can.

  --yes    install and build what is missing without asking
  --help   this text

MESH_STATE moves the state folder, MESH_CACHE the build cache, MESH_KWOK_NODES sets the number of simulated nodes.
MESH_RABBITMQ_URL with MESH_RABBITMQ_MANAGEMENT_URL, MESH_POSTGRES_URL, MESH_KUBECONFIG, MESH_S3_ENDPOINT with MESH_S3_REGION,
MESH_S3_ROOT_ACCESS_KEY and MESH_S3_ROOT_SECRET_KEY, and MESH_OTLP_ENDPOINT with MESH_JAEGER_URL name servers to use instead.`,

  async run(config: LocalConfig, args: readonly string[]): Promise<number> {
    const { values } = parseArgs({ args: [...args], options: { yes: { type: 'boolean', default: false } } });
    const state = new State(config.state);
    setOwner(state, 'stack'); // asked for by name it stays, also when `npm run up` had started it
    const stack = new Stack(config, state);
    const options = { sure: values.yes, durable: true, traces: true, monitoring: false, realNode: false };
    const env = await stack
      .prepare(options)
      .then((prepared) => stack.start(options, prepared))
      .catch((error) => {
        if (ownerOf(state)) say('\nWhat was started still runs; npm run down stops it.');
        throw error;
      });
    say(`\n${state.envFile}\n`);
    say(formatEnv(env));
    say(`Use it with:   set -a; . ${state.envFile}; set +a`);
    say('Stop it with:  npm run down');
    return 0;
  },
};
