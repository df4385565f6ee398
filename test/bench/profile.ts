import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

const shown = 15;

/**
 * The functions in which each contender of a bench spent its time, busiest first. What it waited is left out, and what
 * the bench itself does to lay out its messages.
 */
export function busiestOf(folder: string, bench: string): string[] {
  return readdirSync(folder)
    .filter((file) => file.startsWith(`${bench}-`) && file.endsWith('.cpuprofile'))
    .flatMap((file) => ['', file, ...busiest(JSON.parse(readFileSync(join(folder, file), 'utf8')))]);
}

export function busiest({ nodes, samples, timeDeltas }: CpuProfile): string[] {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const micros = new Map<string, number>();
  for (const [index, id] of samples.entries()) {
    const name = names.get(id)!;
    if (!/^\(idle\)|^post {2}node:inspector|test\/bench\/|libs\/contracts\/src\/new-id|^randomFillSync/.test(name))
      micros.set(name, (micros.get(name) ?? 0) + (timeDeltas[index] ?? 0));
  }
  const all = [...micros.values()].reduce((sum, one) => sum + one, 0);
  return [...micros]
    .sort((a, b) => b[1] - a[1])
    .slice(0, shown)
    .map(([name, spent]) => `${((100 * spent) / all).toFixed(1).padStart(5)} %  ${name}`);
}

/** Without what stands before `node_modules` or `dist`: that is this machine's. */
function nameOf({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const file = url.replace(/^.*\/(?:node_modules|dist)\//, '');
  return `${functionName || '(anonymous)'}${file ? `  ${file}:${lineNumber + 1}` : ''}`;
}
