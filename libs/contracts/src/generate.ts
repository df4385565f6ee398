import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { asyncApi } from './async-api.js';
import { messageSchema } from './json-schema.js';
import { registry } from './registry.js';

/**
 * Writes what a stranger needs to talk to the mesh: a JSON Schema for each message and an AsyncAPI 3 document, both
 * made from the contracts. Run it in the repository's root. `--check` writes nothing and fails when the committed files
 * are not what would be written.
 */

const fixtures = 'libs/contracts/fixtures';
const target = 'libs/contracts/generated';

/** Throws, naming the file, when there is no example of this message. */
function exampleOf(key: string): unknown {
  const file = join(fixtures, key, 'example.json');
  if (!existsSync(file)) throw new Error(`there is no example of ${key}: write ${file}, a whole message as it is sent`);
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** File → content, for everything that is generated; the same each time. */
export function generated(): Map<string, string> {
  const write = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  return new Map([
    ['asyncapi.json', write(asyncApi(exampleOf))],
    ...registry.map(
      (one) => [`schemas/${one.key}.schema.json`, write(messageSchema(one, exampleOf(one.key)))] as const,
    ),
  ]);
}

/** The files that are missing, differ, or should not be there. */
export function stale(folder: string): string[] {
  const wanted = generated();
  const changed = [...wanted].filter(([file, content]) => {
    const path = join(folder, file);
    return !existsSync(path) || readFileSync(path, 'utf8') !== content;
  });
  const schemas = join(folder, 'schemas');
  const extra = existsSync(schemas) ? readdirSync(schemas).filter((file) => !wanted.has(`schemas/${file}`)) : [];
  return [...changed.map(([file]) => file), ...extra.map((file) => `schemas/${file}`)];
}

if (process.argv[1] && basename(process.argv[1]) === 'generate.js') {
  if (process.argv.includes('--check')) {
    const found = stale(target);
    if (found.length > 0) {
      console.error(`Not what the contracts say any more: ${found.join(', ')}\nMake them anew with: npm run contracts`);
      process.exitCode = 1;
    }
  } else {
    const files = generated();
    rmSync(target, { recursive: true, force: true });
    mkdirSync(join(target, 'schemas'), { recursive: true });
    for (const [file, content] of files) writeFileSync(join(target, file), content);
    console.log(`${registry.length} messages written to ${target}`);
  }
}
