import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { generated, stale } from './generate.js';

function written(change: (files: Map<string, string>) => void): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'contracts-'));
  try {
    const files = generated();
    change(files);
    for (const [file, content] of files) {
      mkdirSync(dirname(join(folder, file)), { recursive: true });
      writeFileSync(join(folder, file), content);
    }
    return stale(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('what was just written is fresh', () => {
  expect(written(() => {})).toEqual([]);
});

test('a file that is missing, changed or left over is named', () => {
  expect(written((files) => files.delete('asyncapi.json'))).toEqual(['asyncapi.json']);
  expect(written((files) => files.set('schemas/cell.changed.v1.schema.json', '{}'))).toEqual([
    'schemas/cell.changed.v1.schema.json',
  ]);
  expect(written((files) => files.set('schemas/cell.danced.v1.schema.json', '{}'))).toEqual([
    'schemas/cell.danced.v1.schema.json',
  ]);
});

test('every reference of the AsyncAPI document leads somewhere', () => {
  const document = JSON.parse(generated().get('asyncapi.json')!);
  const references: string[] = [];
  JSON.stringify(document, (name, value) => {
    if (name === '$ref') references.push(value);
    return value;
  });
  expect(references.length).toBeGreaterThan(20);
  for (const reference of references) {
    const target = reference
      .slice(2)
      .split('/')
      .reduce((at, part) => at?.[part], document);
    expect(target).toBeDefined();
  }
});

test('a stranger with another regular expression engine can use the schemas: no pattern has \\p{…}', () => {
  for (const [file, content] of generated()) expect([file, /\\\\p\{/.test(content)]).toEqual([file, false]);
});

test('AsyncAPI tells of each fact who alone sends it, and of each request who answers it', () => {
  const { operations } = JSON.parse(generated().get('asyncapi.json')!) as {
    operations: Record<string, { action: string; channel: { $ref: string }; tags: { name: string }[] }>;
  };
  const services = (action: string, channel: string) =>
    Object.values(operations)
      .filter((one) => one.action === action && one.channel.$ref === `#/channels/${channel}`)
      .map((one) => one.tags[0]!.name);
  expect(services('send', 'instanceReadyV1')).toEqual(['provisioner']);
  expect(services('receive', 'instanceRequestedV1')).toEqual(['capacity-planner']);
  expect(services('send', 'instanceRequestedV1')).toEqual(['api-gateway']);
  const owners = ['capacity-planner', 'provisioner', 'lifecycle', 'backup'];
  expect(services('receive', 'republishRequestedV1')).toEqual(owners);
});
