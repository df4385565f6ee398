import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { folder, rulesFile } from './generate.js';
import { prometheusTest, prometheusTools } from './prometheus-test.fixture.js';

/** Rejects with what promtool says. */
async function promtool(...args: string[]): Promise<void> {
  await promisify(execFile)(prometheusTools().promtool, args).catch((error: { stdout: string; stderr: string }) => {
    throw new Error(`promtool ${args.join(' ')}\n${error.stdout}${error.stderr}`);
  });
}

prometheusTest('Prometheus takes the rules', async () => {
  await promtool('check', 'rules', rulesFile);
});

prometheusTest('each alert is silent while all is well, fires, and resolves', async () => {
  await promtool('test', 'rules', join(folder, 'rules/odoo-mesh.test.yml'));
});
