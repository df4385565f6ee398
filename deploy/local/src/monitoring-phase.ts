import { join } from 'node:path';
import { programs } from './mesh-install.js';
import { findPrometheus, whyNoPrometheus } from './packages.js';
import type { Phase, UpContext } from './phase.js';
import { startPrometheus } from './prometheus.js';
import { say, step } from './terminal.js';

/** Prometheus with the mesh's rules, where there is one: nothing else waits for it. */
export const monitoringPhase: Phase = { title: 'Monitoring', run: startMonitoring };

async function startMonitoring({ config, state, mesh, summary, atEnd }: UpContext): Promise<void> {
  if (!mesh) throw new Error('monitoring needs a mesh');
  const tools = findPrometheus(config);
  if (!tools) {
    say(`  Left out: ${whyNoPrometheus(config)}`);
    return;
  }
  atEnd.push({ name: 'prometheus', undo: () => state.processes.stop('prometheus') });
  await state.processes.stop('prometheus'); // one that was left over reads ports of services that are gone
  await step('prometheus', async () => {
    const url = await startPrometheus(state, tools, {
      rules: join(config.root, 'deploy/monitoring/rules/odoo-mesh.rules.yml'),
      targets: programs.map((job) => ({ job, address: new URL(mesh.services.url(job)).host })),
      every: '5s',
    });
    summary.push(`Prometheus   ${url}/alerts`);
    return url;
  });
}
