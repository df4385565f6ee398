import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { State } from '../state.js';
import { waitForServer } from '../wait.js';
import { addresses } from './addresses.js';

/** CoreDNS on the node's address, for names of Services. Resolves when it knows the cluster. */
export async function startNames(state: State, bin: string, kubeconfig: string): Promise<void> {
  const file = join(state.path('node'), 'Corefile');
  writeFileSync(
    file,
    `.:53 {
  bind ${addresses.node}
  errors
  ready 127.0.0.1:8181
  cache 5
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${kubeconfig}
    pods insecure
    ttl 2
  }
}
`,
  );
  await state.processes.start({
    name: 'coredns',
    command: join(bin, 'coredns'),
    args: ['-conf', file],
    env: { PATH: '/usr/bin:/bin' },
    cwd: state.path('node'),
  });
  await waitForServer(state.processes, 'coredns', 30_000, async () => (await fetch('http://127.0.0.1:8181/ready')).ok);
}
