import { expect, test } from '@jest/globals';
import { nextRemoval, type Remains } from './next-removal.js';

const all: Remains = {
  cluster: { workload: true, pods: 1, volume: true, binding: false },
  shard: { role: true, database: true },
  snapshots: true,
};
const unsnapped: Remains = { ...all, snapshots: false };
const nothing = { workload: false, pods: 0, volume: false, binding: false };
const noTenant = { role: false, database: false };
const noWorkload: Remains = { ...all, cluster: { ...all.cluster, workload: false, pods: 0 } };

test.each<[string, Remains, string]>([
  ['everything', all, 'act workload'],
  ['a pod that still ends', { ...all, cluster: { ...all.cluster, workload: false } }, 'wait PodsTerminating'],
  ['a database nobody uses', noWorkload, 'act database'],
  ['only the role', { ...noWorkload, shard: { role: true, database: false } }, 'act database'],
  ['only the volume, of which there may be snapshots', { ...noWorkload, shard: noTenant }, 'wait SnapshotsRemain'],
  ['only the volume', { ...unsnapped, cluster: { ...nothing, volume: true }, shard: noTenant }, 'act volume'],
  [
    'a volume that is being made',
    { ...unsnapped, cluster: { ...nothing, volume: true, binding: true }, shard: noTenant },
    'wait VolumeBinding',
  ],
  ['nothing', { ...unsnapped, cluster: nothing, shard: noTenant }, 'nothing to do'],
  ['nothing, of which there were snapshots', { ...all, cluster: nothing, shard: noTenant }, 'nothing to do'],
])('with %s left', (_, remains, expected) => {
  const removal = nextRemoval(remains);
  const said = !removal ? 'nothing to do' : removal.kind === 'act' ? `act ${removal.what}` : `wait ${removal.reason}`;
  expect(said).toBe(expected);
});
