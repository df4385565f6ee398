import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';

test('nothing of the product knows the stand-in: with a real Odoo everything else stays as it is', () => {
  const root = join(import.meta.dirname, '../../..');
  const files = ['apps', 'libs'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  expect(files.length).toBeGreaterThan(100);
  expect(files.filter((file) => /odoo[-_. ]?stand[-_. ]?in/i.test(readFileSync(file, 'utf8')))).toEqual([]);
});
