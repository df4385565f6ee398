import { readFileSync, writeFileSync } from 'node:fs';
import { diagram } from './domain/state-table.js';

/** Puts the picture of the state table into the service's README. Run it in the repository's root. */
const readme = 'apps/lifecycle/README.md';
const text = readFileSync(readme, 'utf8');
writeFileSync(readme, text.replace(/```mermaid\n[\s\S]*?```/, `\`\`\`mermaid\n${diagram()}\n\`\`\``));
