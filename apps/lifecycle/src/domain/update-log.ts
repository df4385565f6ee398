/** What an Odoo says on a line: time, process, level, database, logger, words. */
const line = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ \d+ (WARNING|ERROR|CRITICAL) \S+ ([^:]+): (.*)$/;

/**
 * Warnings after which an instance is not what it was, though the update ends with 0 (facts: odoo-in-a-pod §9): a view of
 * the customer's that does not fit any more, a module that does not exist or was not loaded.
 */
const grave = [
  /invalid custom view/i,
  /invalid module names?, ignored/i,
  /some modules (?:are not loaded|have inconsistent states)/i,
  /module \S+ .*(?:not installable|unmet dependenc)/i,
];

export interface Judgement {
  /** Why it is not good, though it ended with 0; undefined: it is. */
  readonly fault: string | undefined;
  /** What else it warned of, a line each, at most 50 of at most 500 characters. */
  readonly warnings: readonly string[];
}

/** Judges the log of an update of modules that ended with 0. */
export function judge(log: string): Judgement {
  const said = log.split('\n').flatMap((text) => {
    const [, level, logger, words] = line.exec(text) ?? [];
    return level ? [{ level, text: `${level} ${logger}: ${words}` }] : [];
  });
  const fault = said.find(({ level, text }) => level !== 'WARNING' || grave.some((one) => one.test(text)));
  const warnings = said.filter(({ level }) => level === 'WARNING').map(({ text }) => text.slice(0, 500));
  return { fault: fault?.text, warnings: [...new Set(warnings)].slice(0, 50) };
}

/** Its last lines, as much as a fact may hold. */
export function lastOf(log: string): string {
  const limit = 4_000;
  return log.length <= limit ? log : `…${log.slice(-limit)}`;
}
