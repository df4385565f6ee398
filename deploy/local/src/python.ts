import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CacheEntry } from './build-cache.js';
import type { LocalConfig } from './config.js';
import { run } from './run.js';

/** A Python environment with the pinned packages of the end-to-end tests: a foreign publisher, and one who tries the API. */
export function pythonForTests(config: LocalConfig): CacheEntry {
  const requirements = join(config.root, 'deploy/local/python/requirements.txt');
  return {
    name: 'python',
    what: 'a Python environment for the tests',
    inputs: [readFileSync(requirements, 'utf8')],
    cost: { minutes: 0.4, megabytes: 100 },
    async make(folder, progress) {
      const options = { env: config.environment };
      progress('virtual environment');
      await run('python3', ['-m', 'venv', folder], options);
      progress('packages');
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--require-hashes'];
      await run(join(folder, 'bin', 'python'), [...pip, '-r', requirements], options);
    },
  };
}
