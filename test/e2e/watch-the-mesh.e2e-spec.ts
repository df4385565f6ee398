import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect } from '@jest/globals';
import { loadYaml } from '@kubernetes/client-node';
import { readConfig } from '#local/config.js';
import { type Program, programs } from '#local/mesh-install.js';
import { startPrometheus } from '#local/prometheus.js';
import type { State } from '#local/state.js';
import { newTestState, removeTestState } from '#local/test-state.js';
import { waitFor } from '#testing/wait-for.js';
import { expressions } from '../../deploy/monitoring/src/dashboard.js';
import { rulesFile } from '../../deploy/monitoring/src/generate.js';
import {
  prometheusTest,
  prometheusTools,
  withoutPrometheus,
} from '../../deploy/monitoring/src/prometheus-test.fixture.js';
import { Backups } from './backups.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
let backups: Backups;
let state: State;
let prometheus: string;

/** The rules of production in which each minute is a second. */
const hurried = readFileSync(rulesFile, 'utf8')
  .replace('interval: 30s', 'interval: 1s')
  .replace(/\b(\d+)m\b/g, '$1s');

beforeAll(async () => {
  if (withoutPrometheus) return;
  mesh = await TestMesh.start({ start: programs });
  backups = new Backups(mesh);
  state = newTestState();
  const rules = state.path('rules.yml');
  writeFileSync(rules, hurried);
  const targets = programs.map((job) => ({ job, address: new URL(mesh.services.url(job)).host }));
  prometheus = await startPrometheus(state, prometheusTools(), { rules, targets, every: '1s' });
});
afterAll(async () => {
  backups?.close();
  await mesh?.stop();
  if (state) await removeTestState(readConfig(), state);
});

async function ask<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
  const response = await fetch(`${prometheus}/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const answer = (await response.json()) as { status: string; error?: string; data: T };
  if (answer.status !== 'success') throw new Error(`${JSON.stringify(parameters)}: ${answer.error}`);
  return answer.data;
}

/** Resolves when Prometheus has seen it. */
async function seen(query: string, value: number): Promise<void> {
  await waitFor(`${query} to be ${value}`, async () => {
    const { result } = await ask<{ result: { value: [number, string] }[] }>('query', { query });
    return Number(result[0]?.value[1]) === value;
  });
}

interface Alert {
  readonly state: 'pending' | 'firing';
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

async function firing(name: string, labels: Record<string, string>): Promise<Alert | undefined> {
  const { alerts } = await ask<{ alerts: Alert[] }>('alerts');
  const wanted = Object.entries({ ...labels, alertname: name });
  return alerts.find((one) => one.state === 'firing' && wanted.every(([label, value]) => one.labels[label] === value));
}

const fires = (name: string, labels: Record<string, string>) =>
  waitFor(`the alert ${name}`, () => firing(name, labels), { timeoutMs: 60_000 });

const rests = (name: string, labels: Record<string, string>) =>
  waitFor(`${name} to rest`, async () => !(await firing(name, labels)), { timeoutMs: 60_000 });

function inRules(): { rules: string[]; records: string[] } {
  const { groups } = loadYaml<{ groups: { rules: { expr: string; record?: string }[] }[] }>(hurried);
  const all = groups.flatMap((group) => group.rules);
  return { rules: all.map(({ expr }) => expr), records: all.flatMap(({ record }) => record ?? []) };
}

/** Names of metrics, also of recorded ones, in an expression without what stands in quotes. */
function namesIn(expression: string): string[] {
  const withoutLabels = expression.replace(/\{[^}]*\}|\b(by|on) \([^)]*\)/g, ' ');
  return withoutLabels.match(/\b[a-z]+[_:][\w:]*\b(?!\s*\()/g) ?? [];
}

const metricsOf = async (service: Program) => await (await fetch(`${mesh.services.url(service)}/metrics`)).text();

prometheusTest('all that rules and dashboard ask for is told by a mesh that makes an instance', async () => {
  const { rules, records } = inRules();
  const asked = [...rules, ...expressions.map((one) => one.replaceAll('$__rate_interval', '5s'))];
  for (const query of asked) await ask('query', { query });

  const names = [...new Set([...asked.flatMap(namesIn), ...records])];
  expect(names.length).toBeGreaterThan(50);
  await seen('count(mesh_ready == 1)', programs.length);
  for (const slug of ['watched', 'watched-too']) {
    const request = mesh.request(slug);
    await mesh.publish(request);
    const { instanceId } = await mesh.ready(request.data.instanceId);
    await backups.proved(await backups.ask(instanceId));
    // The second one after the first was seen: only what grows from then on has a rate.
    await seen('sum(mesh_provisioning_outcomes_total{outcome="ready"})', slug === 'watched' ? 1 : 2);
  }
  await waitFor(
    'every name to have a sample',
    async () => {
      await mesh.api('/v1/instances');
      const told = new Set(await ask<string[]>('label/__name__/values'));
      const missing = names.filter((name) => !told.has(name));
      if (missing.length > 0) throw new Error(`nobody tells ${missing.join(', ')}`);
      return true;
    },
    { timeoutMs: 60_000, intervalMs: 250 },
  );
});

prometheusTest('what a service tells is as Prometheus asks for it, and never about one instance', async () => {
  const { body } = await mesh.api('/v1/instances');
  const { instanceId, slug, footprintId, customerId } = body.items[0];
  for (const service of programs) {
    const metrics = await metricsOf(service);
    for (const own of [instanceId, footprintId, customerId, `${slug}.`]) expect(metrics).not.toContain(own);
    // What the exporter writes for one that says nothing of itself; promtool takes it for help.
    expect(metrics).not.toContain('description missing');
    const check = spawn(prometheusTools().promtool, ['check', 'metrics'], { stdio: ['pipe', 'pipe', 'pipe'] });
    const said: string[] = [];
    for (const stream of [check.stdout, check.stderr]) stream.on('data', (text) => said.push(String(text)));
    check.stdin.end(metrics);
    const [code] = await once(check, 'close');
    expect([service, said.join(''), code]).toEqual([service, '', 0]);
  }
});

prometheusTest('what the runbooks ask the database for can be asked', async () => {
  const runbooks = readFileSync(resolve(import.meta.dirname, '../../docs/runbooks.md'), 'utf8');
  const questions = [...runbooks.matchAll(/`(SELECT [^`]*)`/g)].map(([, sql]) =>
    sql!.replaceAll('<service>', 'provisioner'),
  );
  expect(questions.length).toBeGreaterThan(4);
  for (const sql of questions) await mesh.sql(sql);
});

prometheusTest('what goes wrong is told while it lasts, and not after', async () => {
  const parked = ['MeshMessageParked', { service: 'capacity-planner', severity: 'warning' }] as const;
  const down = ['MeshServiceDown', { job: 'provisioner', severity: 'critical' }] as const;
  await fires('MeshDeadMan', {});
  await Promise.all([rests(...parked), rests(...down)]);

  await mesh.publish('this is no JSON');
  const pid = mesh.services.pid('provisioner')!;
  process.kill(pid, 'SIGSTOP');
  try {
    const [, alert] = await Promise.all([fires(...parked), fires(...down)]);
    expect(alert.annotations.summary).toBe('No provisioner answers.');
  } finally {
    process.kill(pid, 'SIGCONT');
  }

  const { body } = await mesh.api('/v1/parked-messages?status=parked');
  for (const { id } of body.items)
    await mesh.api(`/v1/parked-messages/${id}/discard`, { method: 'POST', body: { reason: 'it was a test' } });
  await Promise.all([rests(...parked), rests(...down)]);
});
