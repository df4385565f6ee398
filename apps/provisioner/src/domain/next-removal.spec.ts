import { expect, test } from '@jest/globals';
import { nextRemoval, type Remains } from './next-removal.js';

const all: Remains = {
  cluster: { workload: true, pods: 1, volume: true, binding: false },
  shard: { role: true, database: true },
};
const noWorkload: Remains = { ...all, cluster: { ...all.cluster, workload: false, pods: 0 } };

test.each<[string, Remains, unknown]>([
  ['everything', all, { kind: 'act', what: 'workload' }],
  [
    'a pod that still ends',
    { ...noWorkload, cluster: { ...noWorkload.cluster, pods: 1 } },
    { kind: 'wait', reason: 'PodsTerminating' },
  ],
  ['a database nobody uses', noWorkload, { kind: 'act', what: 'database' }],
  ['only the role', { ...noWorkload, shard: { role: true, database: false } }, { kind: 'act', what: 'database' }],
  ['only the volume', { ...noWorkload, shard: { role: false, database: false } }, { kind: 'act', what: 'volume' }],
  [
    'a volume that is being made',
    {
      cluster: { workload: false, pods: 0, volume: true, binding: true },
      shard: { role: false, database: false },
    },
    { kind: 'wait', reason: 'VolumeBinding' },
  ],
  [
    'nothing',
    { cluster: { workload: false, pods: 0, volume: false, binding: false }, shard: { role: false, database: false } },
    undefined,
  ],
])('with %s left', (_, remains, expected) => {
  expect(nextRemoval(remains)).toEqual(expected);
});
