import { writeFileSync } from 'node:fs';
import { installMesh, programs } from './mesh-install.js';
import { MeshServices, type Ports, portNames, processNameOf } from './mesh-services.js';
import type { Phase, UpContext } from './phase.js';
import type { State } from './state.js';
import { duration, step } from './terminal.js';

const meshName = 'mesh';

/** The mesh of this state folder: installed, and its services started with what was compiled last. */
export const meshPhase: Phase = { title: 'Mesh', run: startMesh };

async function startMesh(context: UpContext): Promise<void> {
  const { config, state, env } = context;
  if (!env) throw new Error('the mesh needs a stack');
  await endLeftovers(context);

  const allotted = new Map<string, number>();
  for (const name of portNames) allotted.set(name, await state.port(name));
  const ports = Object.fromEntries(allotted) as Ports;
  let installed: Awaited<ReturnType<typeof installMesh>> | undefined;
  const folder = state.path('mesh');
  await step('installation', async (progress) => {
    const secret = (of: string) => state.secret(`${meshName} ${of}`);
    const pagesPort = ports.pages;
    const made: string[] = [];
    const makeTemplates = {
      told(done: string, ms: number) {
        made.push(`${done} ${duration(ms)}`);
        progress(`template: ${made.join(', ')}`);
      },
    };
    installed = await installMesh({
      name: meshName,
      stack: env,
      root: config.root,
      folder,
      secret,
      pagesPort,
      makeTemplates,
    });
    const template = made.length > 0 ? `template (${made.join(', ')})` : 'template';
    return `broker users, database, ${template}, cluster accounts`;
  });
  if (!installed) return;
  writeFileSync(apiKeyFile(state), `Authorization: Bearer ${installed.apiKey}\n`, { mode: 0o600 });

  const services = new MeshServices(installed, state.processes, config.root, ports);
  context.mesh = { installed, services };
  context.atEnd.push({ name: 'services', undo: () => services.stopAll() });

  const starting = programs.map((service) =>
    step(service, async () => {
      await services.start(service);
      return services.url(service);
    }),
  );
  // All of them, so that none comes up behind the back of the clean-up when another fails.
  for (const result of await Promise.allSettled(starting)) if (result.status === 'rejected') throw result.reason;
}

/** A file that `curl -H @file` reads: so the key stands in no process list. */
export function apiKeyFile(state: State): string {
  return state.path('mesh', 'api-key.header');
}

/** Services of an `up` that was killed run old code with old files. */
async function endLeftovers({ state: { processes } }: UpContext): Promise<void> {
  const left = programs.map((service) => processNameOf(meshName, service)).filter((name) => processes.alive(name));
  if (left.length === 0) return;
  await step('left over', async () => {
    await Promise.all(left.map((name) => processes.stop(name)));
    return `stopped ${left.join(', ')} of a run that was killed`;
  });
}
