import type { Contract } from './contract.js';

const values: Readonly<Record<string, unknown>> = {
  instanceId: '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11',
  footprintId: '0199f3c2-8b11-7d3e-a4c5-2f6e8d9b0a17',
  requestId: '0199f3c2-7a41-7c1e-9f6a-2b7c5d1e4f00',
  slug: 'acme',
  customerId: 'c-1042',
  odooVersion: '18.0',
  bundle: 'apps',
  company: 'ACME Ltd',
  adminLogin: 'owner@acme.example',
  language: 'en_US',
  country: 'ZW',
  externalRef: null,
  cell: 'c0',
  namespace: 'mesh-c0',
  databaseShard: 'local',
  database: 'mesh_o0199f3c28b117d3ea4c52f6e8d9b0a17',
  role: 'mesh_o0199f3c28b117d3ea4c52f6e8d9b0a17',
  secret: 'o0199f3c28b117d3ea4c52f6e8d9b0a17-v1',
  volumeClaim: 'o0199f3c28b117d3ea4c52f6e8d9b0a17',
  host: 'acme.example.com',
  url: 'https://acme.example.com',
  uuid: '0b6d7c1e-7a41-4c1e-9f6a-2b7c5d1e4f00',
  plan: { name: 'business', version: 1 },
  template: {
    image: 'registry.example/odoo:18.0-1',
    version: '18.0',
    bundle: 'apps',
    language: 'en_US',
    database: 'mesh_tpl_18_apps_en_us',
  },
  claim: 'new',
  verified: 'http',
  reasons: ['cell c0 has the most free places'],
  timings: { secret: 14, volume: 15, role: 22, database: 55, tenant: 18, workload: 20, ready: 3_400 },
  step: 'database',
  steps: ['secret', 'volume', 'role', 'database', 'tenant', 'workload', 'ready'],
  durationMs: 55,
  condition: {
    reason: 'PodNotReady',
    message: 'Odoo is starting',
    since: '2026-11-23T10:00:02.000Z',
    fault: 'platform',
  },
  code: 'slug-taken',
  fault: 'user',
  retryable: false,
  message: 'another instance has this name',
  reason: 'CellOpening',
  retryAt: '2026-11-23T10:00:05.000Z',
  open: true,
  places: 1_000,
  reserved: 17,
  shards: ['local'],
  approvalId: '0199f3c2-9c11-7d3e-a4c5-2f6e8d9b0a17',
  backupId: '0199f3c2-9d11-7d3e-a4c5-2f6e8d9b0a17',
  expiresAt: '2026-11-23T11:00:00.000Z',
  removed: ['deployment', 'service', 'route', 'database', 'role', 'volume', 'secret'],
  madeAt: '2026-11-01T00:00:00.000Z',
  subscription: 'api-gateway.facts',
  subjectKind: 'instance',
};

/** The few fields that mean something else in one message. */
const exceptions: Readonly<Record<string, Record<string, unknown>>> = {
  'instance.requested.v1': { plan: 'business' },
};

/** A message of this kind as it could be on the wire, made of one example per field, the same each time. */
export function example(contract: Contract): Record<string, unknown> & { readonly data: Record<string, unknown> } {
  const data = dataOf(contract);
  return {
    specversion: '1.0',
    id: contract.kind === 'request' ? values.requestId : '0199f3c2-7b52-7d2f-8a7b-3c8d6e2f5a11',
    source: contract.kind === 'request' ? 'signup' : contract.publisher,
    type: contract.type,
    time: '2026-11-23T10:00:00.000Z',
    datacontenttype: 'application/json',
    ...(contract.kind === 'fact' && { subject: contract.subjectOf(data as never), sequence: 1_795_428_000_000 }),
    traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    data,
  };
}

function dataOf(contract: Contract): Record<string, unknown> {
  const shape = (contract.data as unknown as { readonly shape: Record<string, unknown> }).shape;
  const chosen = { ...values, ...exceptions[contract.key], specification: undefined };
  const fields = Object.keys(shape).map((name) => [name, (chosen as Record<string, unknown>)[name]] as const);
  const data = Object.fromEntries(fields.filter(([, value]) => value !== undefined));
  if (!('specification' in shape)) return data;
  const { instanceId, slug, customerId, odooVersion, bundle, company, adminLogin, language, country, externalRef } =
    values;
  const specification = { instanceId, slug, customerId, plan: 'business', odooVersion, bundle, company, adminLogin };
  return { ...data, specification: { ...specification, language, country, externalRef } };
}
