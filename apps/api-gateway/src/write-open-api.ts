import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import 'reflect-metadata';
import { controllers } from './entrypoints/controllers.js';
import { openApi } from './entrypoints/open-api.js';
import { routesOf } from './entrypoints/route.js';

/**
 * Writes the API's OpenAPI document beside the service's sources. Run it in the repository's root. `--check` writes
 * nothing and fails when the committed file is not what would be written.
 */
const file = 'apps/api-gateway/openapi.json';
const content = `${JSON.stringify(openApi(routesOf(controllers)), null, 2)}\n`;
if (!process.argv.includes('--check')) {
  writeFileSync(file, content);
  console.log(`${file} written`);
} else if (!existsSync(file) || readFileSync(file, 'utf8') !== content) {
  console.error(`${file} is not what the API serves any more. Make it anew with: npm run contracts`);
  process.exitCode = 1;
}
