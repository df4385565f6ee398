import { expect, it } from '@jest/globals';
import { MachineCpu, msOf, programOf } from './machine-cpu.js';

const stat = '4711 (a (strange) name) S 1 2 3 0 -1 4194560 1 2 3 4 150 50 20 10 20 0 1 0 100';

it('adds what a process and its ended children had of the CPU, whatever it is called', () => {
  expect(msOf(stat)).toBe(2_300);
});

it.each([
  ['a service by its folder', ['node', '/somewhere/dist/apps/lifecycle/src/main.js'], 'lifecycle'],
  [
    'a contender by its bench',
    ['node', '/x/dist/test/bench/contender.js', 'backup', 'service'],
    'bench/contender backup service',
  ],
  [
    'a session of a service by its role',
    ['postgres: b123abc_lifecycle b123abc_mesh 127.0.0.1(5) idle'],
    'postgres for lifecycle',
  ],
  [
    'a session of a tenant',
    [`postgres: b123abc_o${'0'.repeat(32)} postgres 127.0.0.1(5) idle`],
    'postgres for a tenant',
  ],
  ['a server of PostgreSQL itself', ['postgres: walwriter '], 'postgres, walwriter '],
  ['anything else by its name', ['/usr/bin/etcd', '--data-dir=x'], 'a (strange) name'],
])('calls %s', (_, line, program) => {
  expect(programOf(stat, line)).toBe(program);
});

it('finds what this process has done', () => {
  const cpu = new MachineCpu();
  for (const until = performance.now() + 200; performance.now() < until; ) Math.sqrt(2);
  expect(cpu.since(1)[0]).toMatch(/^ +\d+\.\d ms {2}everything$/);
});
