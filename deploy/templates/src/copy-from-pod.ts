import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Exec, KubeConfig, type V1Status } from '@kubernetes/client-node';

/** As a tar through the API server; Python is in every image of Odoo, tar is not. */
const pack = `import sys, tarfile
with tarfile.open(fileobj=sys.stdout.buffer, mode='w|') as tar:
    tar.add(sys.argv[1], arcname='.')`;

/** Copies a folder of a running container into a folder here. Throws when it does not come whole. */
export async function copyFromPod(
  kubeconfig: string,
  { namespace, name, container }: { readonly namespace: string; readonly name: string; readonly container: string },
  from: string,
  to: string,
): Promise<void> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const tar = spawn('tar', ['--extract', '--no-same-owner', '--file', '-', '--directory', to], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const unpacked = once(tar, 'close');
  const status = await new Promise<V1Status>((resolve, reject) => {
    const command = ['python3', '-c', pack, from];
    new Exec(config)
      .exec(namespace, name, container, command, tar.stdin!, process.stderr, null, false, resolve)
      .catch(reject);
  });
  tar.stdin!.end();
  const [code] = await unpacked;
  if (status.status !== 'Success') throw new Error(`${from} could not be read: ${status.message}`);
  if (code !== 0) throw new Error(`${from} did not come whole: tar ended with ${code}`);
}
