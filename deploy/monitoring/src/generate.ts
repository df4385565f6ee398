import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { dashboard } from './dashboard.js';

/** `deploy/monitoring`, from its sources (jest) and from what they were compiled to. */
export const folder = resolve(
  import.meta.dirname,
  import.meta.dirname.includes('/dist/') ? '../../../..' : '../../..',
  'deploy/monitoring',
);

export const rulesFile = join(folder, 'rules/odoo-mesh.rules.yml');

/** What is made from the rules and from the description of the dashboard: file below `deploy/monitoring` → content. */
export function generated(): Readonly<Record<string, string>> {
  return {
    'prometheus-rule.yml': prometheusRule(readFileSync(rulesFile, 'utf8')),
    'dashboards/odoo-mesh.json': `${JSON.stringify(dashboard(), null, 2)}\n`,
  };
}

/** The same groups as an object of Prometheus' operator, whose `spec` is a rule file. */
function prometheusRule(rules: string): string {
  const groups = rules.slice(rules.indexOf('\ngroups:') + 1);
  const indented = groups.replace(/^(?=.)/gm, '  ');
  return `# Made from rules/odoo-mesh.rules.yml by: npm run monitoring
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: odoo-mesh
  labels:
    app.kubernetes.io/part-of: odoo-mesh
spec:
${indented}`;
}

if (process.argv[1] === import.meta.filename)
  for (const [file, content] of Object.entries(generated())) writeFileSync(join(folder, file), content);
