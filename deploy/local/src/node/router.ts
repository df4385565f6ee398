import { join } from 'node:path';
import type { State } from '../state.js';
import { waitForServer } from '../wait.js';

/** The name of the port on which routes with a certificate are served; instances of the local stack have none. */
export const secureEntryPoint = 'traefik-secure';

/**
 * Traefik on the loopback and on the node's address, with the routes of the cluster. Resolves to its port when it
 * answers. A Service without endpoints is 503, not 404; changes are taken together for half a second.
 */
export async function startRouter(state: State, bin: string, kubeconfig: string): Promise<number> {
  const { processes } = state;
  const port = processes.alive('traefik') ? state.keptPort('traefik') : await state.port('traefik');
  const securePort = processes.alive('traefik') ? state.keptPort(secureEntryPoint) : await state.port(secureEntryPoint);
  await processes.start({
    name: 'traefik',
    command: join(bin, 'traefik'),
    args: [
      `--entrypoints.web.address=:${port}`,
      `--entrypoints.websecure.address=:${securePort}`,
      '--entrypoints.traefik.address=127.0.0.1:9080',
      '--ping',
      '--metrics.prometheus',
      '--providers.kubernetescrd',
      '--providers.kubernetescrd.allowEmptyServices=true',
      '--providers.providersThrottleDuration=500ms',
      '--global.checknewversion=false',
      '--global.sendanonymoususage=false',
      '--log.level=INFO',
    ],
    env: { PATH: '/usr/bin:/bin', KUBECONFIG: kubeconfig },
    cwd: state.path('node'),
  });
  await waitForServer(processes, 'traefik', 30_000, async () => (await fetch('http://127.0.0.1:9080/ping')).ok);
  return port;
}
