import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { loadYaml } from '@kubernetes/client-node';
import { dashboard } from './dashboard.js';
import { folder, generated, rulesFile } from './generate.js';

interface RuleFile {
  readonly groups: readonly {
    readonly name: string;
    readonly rules: readonly {
      readonly record?: string;
      readonly alert?: string;
      readonly labels?: Readonly<Record<string, string>>;
      readonly annotations?: Readonly<Record<string, string>>;
    }[];
  }[];
}

interface TestFile {
  readonly tests: readonly {
    readonly name: string;
    readonly promql_expr_test?: readonly { readonly expr: string; readonly exp_samples: readonly unknown[] }[];
  }[];
}

const rules = loadYaml<RuleFile>(readFileSync(rulesFile, 'utf8'));
const alerts = rules.groups.flatMap((group) => group.rules).filter((rule) => rule.alert !== undefined);
const alertNames = alerts.map((one) => one.alert!);
const root = join(folder, '../..');

/** The sections of the runbooks by the anchor that a heading has in Markdown. */
function sectionsOf(text: string): Map<string, string> {
  const parts = text.split(/^## /m).slice(1);
  return new Map(
    parts.map((part) => {
      const [heading = '', ...body] = part.split('\n');
      return [heading.toLowerCase().replaceAll(' ', '-'), body.join('\n').trim()];
    }),
  );
}

test.each(Object.keys(generated()))('%s is what its source says: else run npm run monitoring', (file) => {
  expect(readFileSync(join(folder, file), 'utf8')).toBe(generated()[file]);
});

test('the operator of Prometheus gets the same groups as a plain Prometheus', () => {
  const object = loadYaml<{ spec: RuleFile }>(generated()['prometheus-rule.yml']!);
  expect(object).toMatchObject({ apiVersion: 'monitoring.coreos.com/v1', kind: 'PrometheusRule' });
  expect(object.spec).toEqual(rules);
});

test('every alert says how bad it is, what is wrong, and where it stands what to do', () => {
  expect(alerts.length).toBeGreaterThan(20);
  expect(new Set(alertNames).size).toBe(alertNames.length);
  for (const { alert, labels, annotations } of alerts)
    expect([alert, labels, annotations]).toEqual([
      alert,
      { severity: expect.stringMatching(/^(critical|warning|none)$/) },
      {
        summary: expect.stringMatching(/\.$/),
        description: expect.stringMatching(/\.$/),
        runbook_url: `docs/runbooks.md#${alert!.toLowerCase()}`,
      },
    ]);
});

test('every alert has its section in the runbooks, which says what it means and what to do, and no section is left over', () => {
  const sections = sectionsOf(readFileSync(join(root, 'docs/runbooks.md'), 'utf8'));
  expect([...sections.keys()].sort()).toEqual(alertNames.map((name) => name.toLowerCase()).sort());
  for (const [anchor, text] of sections) {
    expect([anchor, text]).toEqual([anchor, expect.stringMatching(/^\*\*Means\*\*/)]);
    expect([anchor, text]).toEqual([anchor, expect.stringMatching(/^\*\*Do\*\*/m)]);
  }
});

test('of every alert promtool is asked whether it is silent, fires, and resolves', () => {
  const { tests } = loadYaml<TestFile>(readFileSync(join(folder, 'rules/odoo-mesh.test.yml'), 'utf8'));
  const asked = new Map<string, string>();
  for (const { promql_expr_test: questions = [] } of tests)
    for (const { expr, exp_samples } of questions) {
      const alert = /^ALERTS\{alertname="(\w+)",alertstate="firing"\}$/.exec(expr)?.[1];
      if (alert) asked.set(alert, (asked.get(alert) ?? '') + (exp_samples.length > 0 ? '!' : '-'));
    }
  // The dead man neither rests nor resolves.
  for (const name of alertNames.filter((one) => one !== 'MeshDeadMan'))
    expect([name, asked.get(name)]).toEqual([name, expect.stringMatching(/-!-/)]);
});

test('the dashboard belongs to no Grafana alone: a name for itself, numbers of its own, and the data source to choose', () => {
  const { uid, panels } = dashboard() as {
    uid: string;
    panels: { id: number; type: string; datasource?: { uid: string } }[];
  };
  expect(uid).toBe('odoo-mesh');
  expect(new Set(panels.map((panel) => panel.id)).size).toBe(panels.length);
  for (const { type, datasource } of panels) if (type !== 'row') expect(datasource?.uid).toBe('$datasource');
});
