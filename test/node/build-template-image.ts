import { importImage } from '#local/node/container-runtime.js';
import { odooImageOf, writeTemplateImage } from '#local/node/odoo-image.js';
import { State } from '#local/state.js';

/** What an operator's `--build` does, with the real node in place of a registry: DATABASE FILES STATE. */
const [database, files, folder] = process.argv.slice(2);
const state = new State(folder!);
const image = { name: `registry.local/by-hand/${database}:1`, file: `${files}.tar` };
await writeTemplateImage(odooImageOf(state), image.file, image.name, { [database!]: files });
await importImage(state, image);
console.log(image.name);
