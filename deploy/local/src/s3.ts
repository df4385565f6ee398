import { mkdirSync } from 'node:fs';
import type { S3Address } from './config.js';
import { addresses } from './node/addresses.js';
import type { State } from './state.js';
import { waitForServer } from './wait.js';

export const s3Region = 'eu-central-1';
export const s3RootAccessKey = 'root';

/**
 * versitygw as a process of ours: buckets are folders below `<state>/s3`, with versions and object lock, and with users
 * of their own. Resolves when it answers. It knows no lifecycle rules, and takes the header that asks for encryption
 * without encrypting.
 */
export async function startS3(
  state: State,
  program: string,
  options: { readonly forPods: boolean },
): Promise<S3Address> {
  const { processes } = state;
  if (!processes.alive('s3')) {
    const port = await state.port('s3');
    const start = (metadata: readonly string[]) => startProcess(state, program, port, options, metadata);
    await start([]);
    // It looks whether the file system has extended attributes before anything else, and ends.
    await answering(state).catch(async (error) => {
      if (!String(error).includes('xattr check failed')) throw error;
      await start(['--sidecar', folder(state, 'metadata')]);
    });
  }
  await answering(state);
  return s3Address(state);
}

export async function stopS3(state: State): Promise<void> {
  await state.processes.stop('s3', 10_000);
}

export function s3Address(state: State): S3Address {
  return {
    endpoint: `http://127.0.0.1:${state.keptPort('s3')}`,
    region: s3Region,
    accessKey: s3RootAccessKey,
    secretKey: state.secret('s3'),
  };
}

export async function s3Answers({ endpoint }: S3Address): Promise<boolean> {
  const response = await fetch(`${endpoint}/healthz`, { signal: AbortSignal.timeout(5_000) });
  await response.body?.cancel();
  return response.ok;
}

async function answering(state: State): Promise<void> {
  await waitForServer(state.processes, 's3', 30_000, () => s3Answers(s3Address(state)));
}

/** `metadata`: how it keeps what a file system without extended attributes cannot. */
async function startProcess(
  state: State,
  program: string,
  port: number,
  { forPods }: { readonly forPods: boolean },
  metadata: readonly string[],
): Promise<void> {
  const hosts = forPods ? ['127.0.0.1', addresses.node] : ['127.0.0.1'];
  await state.processes.start({
    name: 's3',
    command: program,
    args: [
      ...hosts.flatMap((host) => ['--port', `${host}:${port}`]),
      '--region',
      s3Region,
      '--health',
      '/healthz',
      '--keep-alive',
      '--quiet',
      '--iam-dir',
      folder(state, 'users'),
      'posix',
      '--versioning-dir',
      folder(state, 'versions'),
      ...metadata,
      folder(state, 'buckets'),
    ],
    env: { PATH: '/usr/bin:/bin', ROOT_ACCESS_KEY: s3RootAccessKey, ROOT_SECRET_KEY: state.secret('s3') },
    cwd: folder(state),
  });
}

function folder(state: State, ...name: string[]): string {
  const path = state.path('s3', ...name);
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}
