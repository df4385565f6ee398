import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../run.js';
import type { State } from '../state.js';
import { waitForServer } from '../wait.js';
import { addresses } from './addresses.js';

const path = '/usr/sbin:/usr/bin:/sbin:/bin';

/** An image in a file, as it is imported. */
export interface ImageFile {
  /** `registry.local/name:tag`; no registry is ever asked. */
  readonly name: string;
  /** A tar in OCI layout. */
  readonly file: string;
}

export const socketOf = (state: State) => state.path('node', 'containerd.sock');

/** containerd of the distribution, with everything it keeps in the state folder. Resolves when it answers. */
export async function startContainerRuntime(state: State, sandbox: ImageFile): Promise<void> {
  const { processes } = state;
  const folder = state.path('node');
  mkdirSync(join(folder, 'cni'), { recursive: true });
  writeFileSync(join(folder, 'cni', '10-mesh.conflist'), JSON.stringify(podNetwork(folder)));
  writeFileSync(join(folder, 'containerd.toml'), containerdConf(state, sandbox.name));
  await processes.start({
    name: 'containerd',
    command: '/usr/bin/containerd',
    args: ['--config', join(folder, 'containerd.toml')],
    env: { PATH: path },
    cwd: folder,
    // The keepers of the pods.
    childrenOutlive: true,
  });
  await waitForServer(processes, 'containerd', 30_000, async () => {
    await ctr(state, 'version');
    return true;
  });
  await importImage(state, sandbox);
}

/** Imported once; the same name with other content is another image, and pods made from then on get that. */
export async function importImage(state: State, image: ImageFile): Promise<void> {
  const mark = join(state.path('node'), 'imported', encodeURIComponent(`${image.name} ${image.file}`));
  if (existsSync(mark)) return;
  await ctr(state, 'images', 'import', image.file);
  mkdirSync(state.path('node', 'imported'), { recursive: true });
  writeFileSync(mark, '');
}

async function ctr(state: State, ...args: string[]): Promise<string> {
  return await run('/usr/bin/ctr', ['--address', socketOf(state), '--namespace', 'k8s.io', ...args], {
    env: { PATH: path },
  });
}

function containerdConf(state: State, sandbox: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "${state.path('node', 'containerd')}"
state = "/run/containerd/state"
[grpc]
  address = "${socketOf(state)}"
[${cri}]
  sandbox_image = "${sandbox}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [${cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${state.path('node', 'cni')}"
  [${cri}.containerd]
    snapshotter = "overlayfs"
    [${cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [${cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
`;
}

/** One bridge; no masquerading, so that the database sees which pod it talks to. */
function podNetwork(folder: string) {
  return {
    cniVersion: '0.4.0',
    name: 'mesh',
    plugins: [
      {
        type: 'bridge',
        bridge: 'pods0',
        isGateway: true,
        hairpinMode: true,
        ipMasq: false,
        ipam: {
          type: 'host-local',
          dataDir: join(folder, 'pod-addresses'),
          ranges: [[{ subnet: addresses.podNetwork }]],
          routes: [{ dst: '0.0.0.0/0' }],
        },
      },
    ],
  };
}
