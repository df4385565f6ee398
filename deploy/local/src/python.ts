import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CacheEntry } from './build-cache.js';
import type { LocalConfig } from './config.js';
import { run } from './run.js';

/**
 * A Python environment with the pinned packages of the tests: a foreign publisher, one who tries the API, and the
 * stand-in of Odoo.
 */
export function pythonForTests(config: LocalConfig): CacheEntry {
  const requirements = ['python', 'odoo-stand-in'].map((part) =>
    join(config.root, 'deploy/local', part, 'requirements.txt'),
  );
  return {
    name: 'python',
    what: 'a Python environment for the tests',
    inputs: requirements.map((file) => readFileSync(file, 'utf8')),
    cost: { minutes: 0.4, megabytes: 110 },
    async make(folder, progress) {
      const options = { env: config.environment };
      progress('virtual environment');
      await run('python3', ['-m', 'venv', folder], options);
      progress('packages');
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--require-hashes'];
      await run(join(folder, 'bin', 'python'), [...pip, ...requirements.flatMap((file) => ['-r', file])], options);
    },
  };
}
