import { readdirSync, readFileSync } from 'node:fs';

/** What Linux tells everybody, whatever it counts in. */
const ticksPerSecond = 100;
const shown = 30;

/**
 * What each program on this machine has cost since a moment, in ms of CPU time, what ended and was waited for with whom
 * waited for it. A ratio says that two sides differ; this says who does the work by which they do.
 */
export class MachineCpu {
  /** In this process, by who started it. */
  static isAsked = false;
  private readonly before = machineCpu();

  static ifAsked(): MachineCpu | undefined {
    return MachineCpu.isAsked ? new MachineCpu() : undefined;
  }

  tell(side: string, n: number): void {
    process.stderr.write(['', `   CPU time of this machine for each: ${side}`, ...this.since(n), ''].join('\n'));
  }

  /** Line by line, the dearest first: ms for each of `n` things. */
  since(n: number): string[] {
    const spent = new Map<string, number>();
    const now = machineCpu();
    const add = (program: string, ms: number) => spent.set(program, (spent.get(program) ?? 0) + ms);
    for (const [pid, { program, ms }] of now) add(program, ms - (this.before.get(pid)?.ms ?? 0));
    // What they had before they ended is with their parents now.
    for (const [pid, { parent, ms }] of this.before) {
      const heir = now.get(parent);
      if (heir && !now.has(pid)) add(heir.program, -ms);
    }
    const all = [...spent.values()].reduce((sum, ms) => sum + ms, 0);
    const dearest = [...spent].sort((one, other) => other[1] - one[1]).slice(0, shown);
    return [['everything', all] as const, ...dearest]
      .filter(([, ms]) => ms / n >= 0.1)
      .map(([program, ms]) => `${(ms / n).toFixed(1).padStart(8)} ms  ${program}`);
  }
}

interface Spent {
  readonly program: string;
  readonly parent: string;
  readonly ms: number;
}

/** By process id; `program` as a person would call it. */
function machineCpu(): Map<string, Spent> {
  const all = new Map<string, Spent>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
      all.set(pid, { program: programOf(stat, line), parent: fieldsOf(stat)[1]!, ms: msOf(stat) });
    } catch {
      // It has ended between the list and the look.
    }
  }
  return all;
}

/** Its own time, and that of its children that have ended. */
export function msOf(stat: string): number {
  const ticks = fieldsOf(stat)
    .slice(11, 15)
    .reduce((sum, field) => sum + Number(field), 0);
  return (ticks * 1_000) / ticksPerSecond;
}

/** Behind its name, which may have spaces in it. */
function fieldsOf(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

export function programOf(stat: string, line: readonly string[]): string {
  const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
  const words = line.join(' ');
  // A mesh and a tenant have a random name.
  const session = /^postgres: (\S+) (\S+) (?:\[local\]|\d+\.)/.exec(words);
  if (session) return `postgres for ${session[1]!.replace(/^b[0-9a-f]{6}_(?:o[0-9a-f]{32})?/, '') || 'a tenant'}`;
  if (words.startsWith('postgres:')) return `postgres, ${words.split(' ').slice(1, 3).join(' ')}`;
  const service = /\/apps\/([\w-]+)\//.exec(words)?.[1];
  const script = /\/(test|deploy)\/(\S+)\.js(.*)/.exec(words);
  return service ?? (script ? `${script[2]}${script[3]}` : name);
}
