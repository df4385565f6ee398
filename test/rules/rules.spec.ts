import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';

const root = resolve(import.meta.dirname, '../..');
const configFile = join(root, '.dependency-cruiser.cjs');
const { forbidden } = createRequire(import.meta.url)(configFile) as { forbidden: { name: string }[] };

/** A house in which every arrow is allowed: what the planted files point at, and the proof that no rule is too strict. */
const house: Record<string, string> = {
  'apps/a/src/main.ts': `import './app.module.js'; import './config.js';`,
  'apps/a/src/config.ts': `import 'zod';`,
  'apps/a/src/app.module.ts': `import './infrastructure/adapter.js'; import './entrypoints/subscriptions.js';`,
  'apps/a/src/entrypoints/subscriptions.ts': `import '../application/do-it.handler.js'; import '#messaging/index.js';`,
  'apps/a/src/application/do-it.handler.ts': `import './ports.js'; import '../domain/truth.js'; import '@nestjs/common';`,
  'apps/a/src/application/ports.ts': `import type { truth } from '../domain/truth.js'; export type Port = typeof truth;`,
  'apps/a/src/domain/truth.ts': `import '#contracts/index.js'; import '#odoo/index.js'; export const truth = 1;`,
  'apps/a/src/domain/truth.spec.ts': `import './truth.js'; import 'node:fs'; import '#testing/index.js';`,
  'apps/a/src/infrastructure/adapter.ts': `import '../application/ports.js'; import '../domain/truth.js'; import 'node:fs';`,
  'apps/b/src/domain/other.ts': 'export type Other = 1;',
  'libs/contracts/src/index.ts': `import 'zod';`,
  'libs/contracts/src/generate.ts': `import './index.js'; import 'node:fs';`,
  'libs/messaging/src/index.ts': `import '#contracts/index.js'; import 'amqplib';`,
  'libs/messaging/src/it.mesh-spec.ts': `import '#testing/index.js';`,
  'libs/odoo/src/index.ts': `import type { V1Pod } from '@kubernetes/client-node'; import 'node:crypto'; import '#contracts/index.js';`,
  'libs/testing/src/index.ts': `import 'node:fs';`,
  'dist/libs/contracts/src/index.js': '',
  'deploy/local/main.js': `await import('../../dist/libs/contracts/src/index.js');`,
  ...Object.fromEntries(
    ['zod', 'amqplib', '@nestjs/common', '@kubernetes/client-node'].flatMap((name) => [
      [
        `node_modules/${name}/package.json`,
        `{ "name": "${name}", "version": "1.0.0", "type": "module", "main": "x.js" }`,
      ],
      [`node_modules/${name}/x.js`, ''],
    ]),
  ),
};

/** Each planted file breaks one rule and no other. */
const planted: readonly { rule: string; what: string; file: string; text: string }[] = [
  {
    rule: 'no-app-imports-an-app',
    what: 'a service that uses another one, if only its types',
    file: 'apps/a/src/application/planted.ts',
    text: `import type { Other } from '../../../b/src/domain/other.js'; export type Planted = Other;`,
  },
  {
    rule: 'no-lib-imports-an-app',
    what: 'a lib that knows a service',
    file: 'libs/messaging/src/planted-app.ts',
    text: `import '../../../apps/a/src/domain/truth.js';`,
  },
  {
    rule: 'contracts-import-only-zod',
    what: 'a contract with a broker',
    file: 'libs/contracts/src/planted-package.ts',
    text: `import 'amqplib';`,
  },
  {
    rule: 'contracts-import-only-zod',
    what: 'a contract with a lib of ours',
    file: 'libs/contracts/src/planted-lib.ts',
    text: `import '#odoo/index.js';`,
  },
  {
    rule: 'contracts-import-only-zod',
    what: 'a contract with files',
    file: 'libs/contracts/src/planted-files.ts',
    text: `import 'node:fs';`,
  },
  {
    rule: 'domain-is-pure',
    what: 'a domain with Nest',
    file: 'apps/a/src/domain/planted-nest.ts',
    text: `import '@nestjs/common';`,
  },
  {
    rule: 'domain-is-pure',
    what: 'a domain with files',
    file: 'apps/a/src/domain/planted-files.ts',
    text: `import 'node:fs';`,
  },
  {
    rule: 'domain-is-pure',
    what: 'a domain that knows its application',
    file: 'apps/a/src/domain/planted-application.ts',
    text: `import '../application/ports.js';`,
  },
  {
    rule: 'domain-is-pure',
    what: 'a domain that knows its adapters',
    file: 'apps/a/src/domain/planted-adapter.ts',
    text: `import '../infrastructure/adapter.js';`,
  },
  {
    rule: 'odoo-is-pure',
    what: 'manifests that read files',
    file: 'libs/odoo/src/planted-files.ts',
    text: `import 'node:fs';`,
  },
  {
    rule: 'odoo-is-pure',
    what: 'manifests that know the broker',
    file: 'libs/odoo/src/planted-lib.ts',
    text: `import '#messaging/index.js';`,
  },
  {
    rule: 'application-knows-no-adapter',
    what: 'a handler with an adapter',
    file: 'apps/a/src/application/planted.handler.ts',
    text: `import '../infrastructure/adapter.js';`,
  },
  {
    rule: 'application-knows-no-adapter',
    what: 'a handler that knows what wakes it',
    file: 'apps/a/src/application/planted-entry.handler.ts',
    text: `import '../entrypoints/subscriptions.js';`,
  },
  {
    rule: 'infrastructure-does-not-drive',
    what: 'an adapter that calls a handler',
    file: 'apps/a/src/infrastructure/planted.ts',
    text: `import '../application/do-it.handler.js';`,
  },
  {
    rule: 'infrastructure-does-not-drive',
    what: 'an adapter that knows an entry point',
    file: 'apps/a/src/infrastructure/planted-entry.ts',
    text: `import '../entrypoints/subscriptions.js';`,
  },
  {
    rule: 'entrypoints-know-no-adapter',
    what: 'a controller with a repository',
    file: 'apps/a/src/entrypoints/planted.controller.ts',
    text: `import '../infrastructure/adapter.js';`,
  },
  {
    rule: 'only-app-module-binds',
    what: 'a main file with an adapter',
    file: 'apps/b/src/main.ts',
    text: `import './infrastructure/planted-target.js';`,
  },
  {
    rule: 'no-cycles',
    what: 'two files that need each other',
    file: 'libs/messaging/src/planted-one.ts',
    text: `import './planted-two.js';`,
  },
  {
    rule: 'source-not-dist',
    what: 'an import of what was built',
    file: 'libs/messaging/src/planted-dist.ts',
    text: `import '../../../dist/libs/contracts/src/index.js';`,
  },
  {
    rule: 'resolvable',
    what: 'an import that leads nowhere',
    file: 'libs/messaging/src/planted-nowhere.ts',
    text: `import '#contracts/nowhere.js';`,
  },
  {
    rule: 'testing-stays-in-tests',
    what: 'a lib that ships a test tool',
    file: 'libs/messaging/src/planted-testing.ts',
    text: `import '#testing/index.js';`,
  },
];
/** The other halves of planted files. */
const counterparts = {
  'libs/messaging/src/planted-two.ts': `import './planted-one.js';`,
  'apps/b/src/infrastructure/planted-target.ts': '',
};

interface Violation {
  readonly rule: string;
  readonly from: string;
}

let folder: string;
let violations: readonly Violation[];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mesh-rules-'));
  const files = { ...house, ...counterparts, ...Object.fromEntries(planted.map(({ file, text }) => [file, text])) };
  for (const [file, text] of Object.entries(files)) write(file, text);
  for (const file of ['package.json', 'tsconfig.json', 'tsconfig.base.json'])
    write(file, readFileSync(join(root, file), 'utf8'));
  violations = cruise(['apps', 'libs', 'deploy']);
}, 30_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('every rule has a planted violation', () => {
  expect([...new Set(planted.map(({ rule }) => rule))].sort()).toEqual(forbidden.map(({ name }) => name).sort());
});

test.each(planted)('$rule: $what is found, by this rule alone', ({ rule, file }) => {
  expect(violations.filter(({ from }) => from === file).map((one) => one.rule)).toEqual([rule]);
});

test('arrows that are allowed are left alone', () => {
  const suspects = new Set([...planted.map(({ file }) => file), ...Object.keys(counterparts)]);
  expect(violations.filter(({ from }) => !suspects.has(from))).toEqual([]);
});

function write(file: string, text: string): void {
  const path = join(folder, file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** Runs the real program with the real configuration in the planted tree. */
function cruise(folders: readonly string[]): Violation[] {
  const program = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs');
  const args = [program, '--config', configFile, '--output-type', 'json', ...folders];
  const output = execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8', maxBuffer: 32 * 1024 * 1024 });
  const { summary } = JSON.parse(output) as { summary: { violations: { rule: { name: string }; from: string }[] } };
  return summary.violations.map(({ rule, from }) => ({ rule: rule.name, from }));
}
