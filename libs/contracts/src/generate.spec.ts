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
