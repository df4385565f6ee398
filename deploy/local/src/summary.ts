import { stripVTControlCharacters } from 'node:util';

/** What one lane of `npm test` came to. */
export interface LaneResult {
  readonly lane: string;
  readonly ms: number;
  readonly passed: number;
  /** A line for each failure, naming it. */
  readonly failed: readonly string[];
  /** What was not run and why. */
  readonly skipped: readonly { readonly what: string; readonly reason: string }[];
}

/** The part of jest's `--json` report that is read here. */
export interface JestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly status: 'passed' | 'failed' | 'focused' | 'skipped' | 'pending';
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: 'passed' | 'failed' | 'skipped' | 'pending' | 'todo' | 'disabled' | 'focused';
    }[];
  }[];
}

/**
 * The result of a jest lane. A file that could not be loaded has no tests and counts as one failure. With a filter by
 * name the tests it leaves out are nobody's skips.
 */
export function resultOfJest(lane: string, ms: number, report: JestReport, filtered: boolean): LaneResult {
  const failed: string[] = [];
  const skipped: { what: string; reason: string }[] = [];
  let passed = 0;
  for (const file of report.testResults) {
    if (file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'))
      failed.push(`${file.name}: ${firstLine(file.message)}`);
    for (const test of file.assertionResults) {
      if (test.status === 'passed') passed += 1;
      else if (test.status === 'failed') failed.push(test.fullName);
      else if (!filtered) skipped.push({ what: test.fullName, reason: reasonIn(test) });
    }
  }
  return { lane, ms, passed, failed, skipped };
}

/** A test that is skipped says why in its name, behind `skipped:`. */
function reasonIn({ fullName, status }: { fullName: string; status: string }): string {
  const reason = /\bskipped: (.*?)\)?$/.exec(fullName)?.[1];
  return reason ?? (status === 'todo' ? 'only planned' : 'skipped in its file, without a reason');
}

function firstLine(text: string): string {
  const plain = stripVTControlCharacters(text);
  return (
    plain
      .split('\n')
      .find((line) => line.trim() !== '' && !line.includes('●'))
      ?.trim() ?? 'could not be run'
  );
}

/** The end of `npm test`; the last line has the numbers alone. */
export function summaryLines(results: readonly LaneResult[]): string[] {
  const sum = (count: (result: LaneResult) => number) => results.reduce((total, result) => total + count(result), 0);
  const lines: string[] = [];
  const failures = results.flatMap(({ lane, failed }) => failed.map((what) => `  ${lane}: ${what}`));
  if (failures.length > 0) lines.push('Failed:', ...failures, '');
  const skips = results.flatMap(({ lane, skipped }) =>
    skipped.map(({ what, reason }) => `  ${lane}: ${what}: ${reason}`),
  );
  if (skips.length > 0) lines.push('Skipped:', ...skips, '');
  lines.push(
    `${sum((result) => result.passed)} passed, ${sum((result) => result.failed.length)} failed, ` +
      `${sum((result) => result.skipped.length)} skipped`,
  );
  return lines;
}
