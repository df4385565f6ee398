import type { BackupView } from './backup-view.js';
import type { InstanceView, ViewState } from './instance-view.js';
import { progressOf, type RestoreView } from './restore-view.js';

export interface Explanation {
  readonly state: ViewState;
  readonly reason: string | null;
  /** What has to happen before it goes on; null: it is where it was to be. */
  readonly waitsFor: string | null;
  /** Whose turn it is, or whose doing it was. */
  readonly fault: 'user' | 'platform' | 'provider' | null;
  readonly next: string;
}

type Words = Pick<Explanation, 'waitsFor' | 'fault' | 'next'>;

/** Where it is lifted, and where it is kept. */
const resume = 'POST /v1/instances/{instanceId}/actions/resume';
const keep = 'POST /v1/instances/{instanceId}/actions/cancel-termination';

const platform = (waitsFor: string, next: string): Words => ({ waitsFor, fault: 'platform', next });

/** By `state`, or `state reason` where the reason says more. An operator reads on in docs/running.md. */
const words: Readonly<Record<string, Words>> = {
  requested: platform('the planner, who takes the request from its queue', 'It is placed or refused within seconds.'),
  waiting: platform('room', 'It is placed as soon as there is room, longest waiting first.'),
  'waiting CellOpening': platform('a new cell, which is being opened', 'It is placed in it within seconds.'),
  'waiting SpareLeaving': platform('a running spare to give its place up', 'It is placed when the spare is gone.'),
  'waiting AllCellsFull': platform(
    'a free place: all cells are full',
    'An operator raises the number of cells, or an instance ends.',
  ),
  'waiting DatabaseShardsFull': platform('a database shard with room', 'An operator adds a shard or raises its limit.'),
  'waiting NoTemplate': platform(
    'a template that was not heard of yet',
    'The provisioner tells of its templates; if it runs, within seconds.',
  ),
  provisioning: platform(
    'the next step of its making',
    'Each step takes seconds; when its time is over it is given up with a reason.',
  ),
  'provisioning SHARD_UNAVAILABLE': platform(
    'its database shard, which does not answer',
    'It goes on by itself when the shard answers; this time is not counted. An operator sees to the shard.',
  ),
  'provisioning SHARD_REFUSES_LOGIN': platform(
    'an operator: its database shard refuses the mesh’s log-in',
    'The operator mends the password in MESH_SHARD_URLS or on the shard; it goes on by itself then.',
  ),
  'provisioning SHARD_NOT_PREPARED': platform(
    'an operator: on its database shard tenants would not be apart',
    'The operator prepares the shard again; it goes on by itself then.',
  ),
  'provisioning SHARD_FORBIDS': platform(
    'an operator: its database shard forbids a step',
    'The operator prepares the shard again; it goes on by itself then.',
  ),
  'provisioning SHARD_DISK_FULL': platform(
    'room on the disk of its database shard',
    'An operator makes room; it goes on by itself then.',
  ),
  'provisioning SHARD_UNKNOWN': platform(
    'an operator: the provisioner was not told of its database shard',
    'The operator adds the shard to MESH_SHARD_URLS; it goes on by itself then.',
  ),
  'provisioning TEMPLATE_MISSING': platform(
    'its template, which is not on the shard any more',
    'An operator publishes the template again; it goes on by itself then.',
  ),
  'provisioning TEMPLATE_BUSY': platform(
    'its template, in which somebody is at work',
    'Nobody should be connected to a template; it goes on by itself when nobody is.',
  ),
  'provisioning CLUSTER_UNAVAILABLE': platform(
    'the Kubernetes API, which does not answer',
    'It goes on by itself when the API answers; this time is not counted. An operator sees to the cluster.',
  ),
  'provisioning CLUSTER_FORBIDS': platform(
    'an operator: Kubernetes forbids a step',
    'The operator gives the provisioner its rights in the cell back; it goes on by itself then.',
  ),
  'provisioning CELL_MISSING': platform(
    'an operator: the namespace of its cell is gone',
    'The operator makes it again; it goes on by itself then.',
  ),
  'provisioning MANIFEST_REFUSED': platform(
    'somebody who mends it: Kubernetes does not take an object as it is',
    'An operator reads the message: an admission rule of the cluster, or a fault of the mesh.',
  ),
  'provisioning SECRET_LOST': platform(
    'an operator: its Secret was deleted while it was made',
    'The operator ends this instance and asks for another one; its database has no customer’s data yet.',
  ),
  'provisioning VolumePending': platform(
    'the storage class, which has not bound its volume',
    'It goes on when the volume is bound.',
  ),
  'provisioning VolumeTerminating': platform('an older volume claim of its name to be gone', 'It goes on by itself.'),
  'provisioning DeploymentTerminating': platform('an older deployment of its name to be gone', 'It goes on by itself.'),
  'provisioning CELL_FULL': platform(
    'the quota of its cell',
    'An operator raises the quota; it goes on by itself then.',
  ),
  'provisioning PodNotReady': platform('Odoo to start', 'It is Ready when its pod is.'),
  'provisioning SiteNotAnswering': platform(
    'its log-in page to be answered at its host',
    'It is asked again until it is.',
  ),
  failed: platform(
    'somebody who mends the cause and asks for it to be taken up again',
    'An operator looks at the message, then asks for a retry: POST /v1/instances/{instanceId}/actions/retry.',
  ),
  'failed DEADLINE_EXCEEDED': platform(
    'somebody to look why it was not Ready in time',
    'An operator mends it and asks for it to be taken up again.',
  ),
  'failed FOREIGN_ROLE': platform(
    'an operator: a role of its name, not made by us, is on the shard',
    'The operator removes or renames it and asks for a retry; it was left alone.',
  ),
  'failed FOREIGN_DATABASE': platform(
    'an operator: a database of its name, not made by us, is on the shard',
    'The operator removes or renames it and asks for a retry; it was left alone.',
  ),
  refused: {
    waitsFor: 'another request',
    fault: 'user',
    next: 'Send a new request that heeds the message, under a new instance id.',
  },
  running: { waitsFor: null, fault: null, next: 'Nothing: it runs.' },
  'running stop-failed': platform(
    'somebody to look why its pod did not end',
    'It runs on, though it was to be stopped. An operator reads its timeline; then it can be asked for again.',
  ),
  stopped: {
    waitsFor: null,
    fault: 'user',
    next: 'It stands still until somebody starts it: POST /v1/instances/{instanceId}/actions/start.',
  },
  'stopped start-failed': platform(
    'somebody who mends why it did not become Ready',
    'It was put back to standing still. An operator reads its timeline; then it can be started again.',
  ),
  hibernated: { waitsFor: null, fault: null, next: 'It sleeps because nobody used it, until somebody does.' },
  suspended: {
    waitsFor: 'an operator, who suspended it',
    fault: 'platform',
    next: `The operator lifts it when its cause is settled: ${resume}. Its data are kept.`,
  },
  'suspended unpaid': {
    waitsFor: 'its customer to pay what is due',
    fault: 'user',
    next: `Billing lifts it when that is paid, or an operator does: ${resume}. Its data are kept.`,
  },
  'suspended abuse': {
    waitsFor: 'its customer to end the abuse for which it was suspended, and an operator to be told',
    fault: 'user',
    next: `An operator lifts it: ${resume}. Its data are kept.`,
  },
  maintenance: platform(
    'whoever needs it to stand still for this purpose',
    'It is as before when they are done, or at the latest when their deadline has passed.',
  ),
  'maintenance switch-back': platform(
    'its former footprint to be brought up',
    'It lives there again then, or where it lived until now with nothing changed.',
  ),
  'maintenance upgrade': platform(
    'its modules to be updated for the new image',
    'It runs on the new image then, or on the old one with nothing changed.',
  ),
  'maintenance restore': platform(
    'what a backup has to be put in its place',
    'It is as the backup has it then, or as it was before if that fails.',
  ),
  'maintenance backup': platform('a backup to be made while it stands still', 'It is as before then.'),
  terminating: {
    waitsFor: 'the end of its grace',
    fault: 'user',
    next: `It is destroyed then, if there is a verified backup. Until then it can be kept: ${keep}.`,
  },
  'terminating waits-for-final-backup': platform(
    'its final backup to be made and verified outside of the cluster',
    `It is not destroyed without one; an operator looks why there is none. It can still be kept: ${keep}.`,
  ),
  purging: platform('all of it to be removed', 'It has ended then; it cannot be kept any more.'),
  terminated: { waitsFor: null, fault: null, next: 'Nothing: it has ended.' },
  'terminated cancelled': { waitsFor: null, fault: null, next: 'Nothing: it was ended before it was Ready.' },
};

/** By the operation that is under way: what it waits for, and what is so then. */
const underWay: Readonly<Record<string, readonly [waitsFor: string, then: string]>> = {
  start: ['its pod to be Ready', 'It runs then.'],
  stop: ['its pod to end', 'It stands still then, until somebody starts it.'],
  restart: ['its pod to end, and another one to be Ready', 'It runs again then.'],
  suspend: ['its pod to end', 'It is suspended then, until billing or an operator lifts it.'],
  resume: ['its pod to be Ready, if it is to run', 'It is not suspended any more then.'],
  resize: ['room for its new plan, and a pod of that size to be Ready', 'It has the new plan then.'],
  upgrade: [
    'a backup, the update of its modules, and a pod of the new image to be Ready',
    'It runs on the new image then, or on the old one with nothing changed.',
  ],
  rename: ['its names to be reserved, and to be answered at', 'It is found at all of them then, and at no others.'],
  quiesce: ['its pod and its connections to the database to end', 'Whoever asked works on it then, until a deadline.'],
  release: ['its pod to be Ready, if it is to run', 'It is as before then, or as whoever worked on it has made it.'],
  'switch-back': [
    'its pod to end, and one in its former footprint to be Ready',
    'It lives again where it lived before then, or where it lived until now with nothing changed.',
  ],
  terminate: ['its pod to end', 'It stands still then, until it is destroyed after its grace.'],
  'cancel-termination': ['its pod to be Ready, if it is to run', 'It is as before then, and is kept.'],
};

const notBegun = platform(
  'the provisioner, who has not begun yet',
  'It begins within seconds; if not, an operator looks whether a provisioner runs.',
);

const notTakenOver = platform(
  'lifecycle, who has not taken it over yet',
  'It is ready, and called running within seconds; if not, an operator looks whether a lifecycle runs.',
);

const restoreNotBegun = platform(
  'the backup service, who takes the restore from its queue',
  'It begins within seconds; if not, an operator looks whether a backup service runs.',
);

/** They are what a restore does with it on its way; others go on beside it. */
const ofRestores = new Set(['quiesce', 'release']);

/** What beside its own state says what it waits for. */
export interface Beside {
  /** Has not ended: it is restored, or to be made by it. */
  readonly restore?: Pick<RestoreView, 'state' | 'mode' | 'step' | 'steps' | 'stepSince'> | undefined;
  /** The last one that was made for its end. */
  readonly finalBackup?: Pick<BackupView, 'backupId' | 'state'> | undefined;
}

type Seen = Pick<InstanceView, 'state' | 'reason' | 'step' | 'operation'>;

/** What it waits for, whose fault that is and what comes next, from the facts so far. */
export function explain(view: Seen, beside: Beside = {}): Explanation {
  const { state, reason } = view;
  return { state, reason, ...wordsOf(view, beside) };
}

/** Whether a restore that has not ended is what it waits for. */
export function waitsForRestore({ state, operation }: Seen): boolean {
  if (operation && !ofRestores.has(operation.operation)) return false;
  return ['requested', 'running', 'stopped', 'hibernated', 'maintenance'].includes(state);
}

function wordsOf(view: Seen, { restore, finalBackup }: Beside): Words {
  const { state, reason, step, operation } = view;
  if (restore && waitsForRestore(view)) return ofRestore(restore);
  if (operation) {
    const [waitsFor, then] = underWay[operation.operation] ?? [
      `its ${operation.operation} to end`,
      'See its timeline.',
    ];
    return platform(waitsFor, then);
  }
  // `requested`: lifecycle has heard of it, and nobody of its making.
  const unsaid = reason === null || reason === 'requested';
  if (state === 'provisioning' && unsaid && step === null) return notBegun;
  if (state === 'provisioning' && unsaid && step === 'ready') return notTakenOver;
  if (state === 'terminating' && reason === 'waits-for-final-backup' && finalBackup) return ofFinal(finalBackup);
  return words[`${state} ${reason}`] ?? words[state]!;
}

function ofRestore(restore: NonNullable<Beside['restore']>): Words {
  const progress = progressOf(restore);
  if (restore.state === 'requested' || !progress) return restoreNotBegun;
  const at = `step ${progress.number} of ${progress.of} (${progress.step})`;
  if (restore.mode === 'clone')
    return platform(`the restore that it is made by, at ${at}`, 'It is placed then, and runs within seconds.');
  return platform(
    `its restore from a backup, at ${at}`,
    'It is switched to what the backup has then; if the restore fails it stays as it is.',
  );
}

function ofFinal({ backupId, state }: NonNullable<Beside['finalBackup']>): Words {
  if (state === 'completed')
    return platform(
      'its final backup, which was made, to be verified outside of the cluster',
      `It is destroyed then. Until then it can be kept: ${keep}.`,
    );
  if (state === 'failed')
    return platform(
      'somebody who mends why its final backup failed',
      `An operator reads why at /v1/backups/${backupId}; it is not destroyed without one. It can still be kept: ${keep}.`,
    );
  return words['terminating waits-for-final-backup']!;
}
