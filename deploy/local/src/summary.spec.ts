import { describe, expect, test } from '@jest/globals';
import { type JestReport, type LaneResult, resultOfJest, summaryLines } from './summary.js';

type File = JestReport['testResults'][number];
const file = (tests: File['assertionResults'], more: Partial<File> = {}): File => ({
  name: '/x/a.spec.ts',
  message: '',
  status: 'passed',
  assertionResults: tests,
  ...more,
});
const result = (lane: string, more: Partial<LaneResult> = {}): LaneResult => ({
  lane,
  ms: 1,
  passed: 0,
  failed: [],
  skipped: [],
  ...more,
});

describe('counting a jest lane', () => {
  test('counts passed, failed and skipped tests, with their reasons', () => {
    const tests = [
      { fullName: 'adds', status: 'passed' },
      { fullName: 'subtracts', status: 'failed' },
      { fullName: 'divides (skipped: no zero on this machine)', status: 'pending' },
      { fullName: 'multiplies', status: 'todo' },
    ] as const;
    expect(resultOfJest('unit', 5, { testResults: [file(tests, { status: 'failed' })] }, false)).toEqual({
      lane: 'unit',
      ms: 5,
      passed: 1,
      failed: ['subtracts'],
      skipped: [
        { what: 'divides (skipped: no zero on this machine)', reason: 'no zero on this machine' },
        { what: 'multiplies', reason: 'only planned' },
      ],
    });
  });

  test('takes a file that could not be loaded for a failure', () => {
    const broken = file([], {
      status: 'failed',
      message: '  \u001b[1m● Test suite failed to run\n\n    Cannot find it',
    });
    expect(resultOfJest('unit', 5, { testResults: [broken] }, false).failed).toEqual(['/x/a.spec.ts: Cannot find it']);
  });

  test('does not count what a filter by name left out', () => {
    const tests = [{ fullName: 'adds', status: 'pending' }] as const;
    expect(resultOfJest('unit', 5, { testResults: [file(tests)] }, true).skipped).toEqual([]);
  });
});

describe('the end of npm test', () => {
  test('has the numbers alone on the last line', () => {
    const results = [
      result('lint', { passed: 1 }),
      result('unit', { passed: 40, failed: ['subtracts'] }),
      result('mesh', { skipped: [{ what: 'the whole lane', reason: 'no RabbitMQ' }] }),
    ];
    const lines = summaryLines(results);
    expect(lines.at(-1)).toBe('41 passed, 1 failed, 1 skipped');
    expect(lines).toContain('  unit: subtracts');
    expect(lines).toContain('  mesh: the whole lane: no RabbitMQ');
  });

  test('says nothing else when all is well', () => {
    expect(summaryLines([result('lint', { passed: 1 })])).toEqual(['1 passed, 0 failed, 0 skipped']);
  });
});
