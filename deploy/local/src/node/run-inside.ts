import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { LocalConfig } from '../config.js';
import { interruption } from '../interruption.js';
import type { State } from '../state.js';
import { inside, startNamespaces } from './namespaces.js';

/**
 * Runs a command of ours again in the namespaces of this state's holder, which it makes if need be, with its output
 * shown. Resolves to its exit code. An interruption is handed on: the command decides when it has cleaned up.
 */
export async function runInside(config: LocalConfig, state: State, args: readonly string[]): Promise<number> {
  const pid = await startNamespaces(state);
  const program = join(config.root, 'dist/deploy/local/src/cli.js');
  const [command, all] = inside(pid, process.execPath, ['--enable-source-maps', program, ...args]);
  const child = spawn(command, all, {
    stdio: 'inherit',
    env: { ...config.environment, MESH_STATE: state.folder } as NodeJS.ProcessEnv,
  });
  const handOn = () => child.kill('SIGTERM');
  interruption.addEventListener('abort', handOn);
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once('error', (error) => reject(new Error(`${command} cannot be run: ${error.message}`)));
      child.once('exit', (code) => resolve(code ?? 1));
      if (interruption.aborted) handOn();
    });
  } finally {
    interruption.removeEventListener('abort', handOn);
  }
}
