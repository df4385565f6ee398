import { timeSpentAtFirst } from '#footprints/deadline.js';
import { findPlan } from '#odoo/index.js';
import { atHost, type Instance, type Live, withCustomDomains } from './instance.js';
import { moved, takenBack } from './moving.js';
import { type Operation, stagesOf } from './operation.js';
import { afterTrying, livingIn, withAnotherSecret } from './switching.js';

type Entered = readonly [Instance, Operation];

/**
 * What is so from the beginning of the operation's present stage on, before anything is done for it: so whoever dies in the
 * middle is followed by somebody who means the same.
 * @param database the footprint's first, from whose name those of copies are made.
 * @param formerHostMs how long a host that it has no more leads to the one that it has.
 */
export function enter(
  instance: Instance,
  operation: Operation,
  now: Date,
  { database, formerHostMs }: { readonly database: string; readonly formerHostMs: number },
): Entered {
  const stage = stagesOf(operation, instance)[operation.stage];
  const { asked: _, askedAt: __, answered: ___, epoch: ____, ...progress } = operation.progress;
  const entered = { ...operation, progress, condition: null, ...timeSpentAtFirst(now) };
  switch (stage) {
    case 'up':
    case 'down':
    case 'route':
      return underAnotherEpoch(instance, entered, stage);
    case 'fit':
      return fitting(instance, entered);
    case 'fence':
      return [{ ...instance, live: withAnotherSecret(instance.live) }, entered];
    case 'copy':
      return copying(instance, entered, database);
    case 'switch':
      return switching(instance, entered);
    case 'address':
      return renaming(instance, entered, new Date(now.getTime() + formerHostMs).toISOString());
    case 'tidy':
      return tidying(instance, entered);
    default:
      return [instance, entered];
  }
}

function underAnotherEpoch(instance: Instance, operation: Operation, stage: 'up' | 'down' | 'route'): Entered {
  const { kind, progress } = operation;
  const epoch = instance.epoch + 1;
  const applied = { ...progress, epoch };
  if (kind !== 'upgrade' || stage === 'up' || progress.failure)
    return [
      { ...instance, epoch },
      { ...operation, progress: applied },
    ];
  return [moved({ ...instance, epoch }, 'upgrade', 'upgrade'), { ...operation, progress: { ...applied, down: true } }];
}

/** It is the other footprint's from here on, and the one before stands in `before`; when it failed it is that one's again. */
function switching(instance: Instance, operation: Operation): Entered {
  const { live, formerFootprints } = instance;
  const { progress } = operation;
  const epoch = instance.epoch + 1;
  if (progress.failure) {
    const back = { live: takenBack(instance, progress.before!), formerFootprints: afterTrying(formerFootprints, live) };
    return [
      { ...instance, epoch, ...back },
      { ...operation, progress: { ...progress, epoch, tried: live } },
    ];
  }
  return [
    { ...instance, epoch, live: livingIn(progress.target!, instance) },
    { ...operation, progress: { ...progress, epoch, before: live } },
  ];
}

function fitting(instance: Instance, operation: Operation): Entered {
  const { progress, input } = operation;
  if (progress.failure) return [{ ...instance, live: takenBack(instance, progress.before!) }, operation];
  const plan = findPlan(input.plan!)!;
  const { live } = instance;
  const fitted = {
    ...withAnotherSecret(live),
    plan: { name: plan.name, version: plan.version },
    storageBytes: Math.max(live.storageBytes, plan.storageBytes),
  };
  return [
    { ...instance, live: fitted },
    { ...operation, progress: { ...progress, before: live } },
  ];
}

/** The new names are its own from here on, and what it had before stands in `before`; when it failed it has those again. */
function renaming(instance: Instance, operation: Operation, until: string): Entered {
  const { live } = instance;
  const { input, progress } = operation;
  const { failure, before, host, reservation } = progress;
  if (failure) return [{ ...instance, live: takenBack(instance, before!) }, operation];
  const named = host === undefined ? live : atHost(live, host, until);
  const { customDomains } = input;
  return [
    { ...instance, live: customDomains ? withCustomDomains(named, customDomains, reservation!) : named },
    { ...operation, progress: { ...progress, before: live } },
  ];
}

/** The copy is what `live` says from here on; what it is a copy of is untouched, and stands in `before`. */
function copying(instance: Instance, operation: Operation, database: string): Entered {
  if (operation.input.rehearse) return rehearsing(instance, operation);
  const { live } = instance;
  const copies = live.copies + 1;
  const copy = {
    ...withAnotherSecret(live),
    image: operation.input.to!,
    database: `${database}_${copies}`,
    copies,
  };
  return [
    { ...instance, live: copy },
    { ...operation, progress: { ...operation.progress, before: live, copiedFrom: live.database } },
  ];
}

/** The same beside the clone's first database; the instance is not touched. */
function rehearsing(instance: Instance, operation: Operation): Entered {
  const { progress, input } = operation;
  const clone = progress.restored as Live;
  const copies = clone.copies + 1;
  const database = `${clone.database}_${copies}`;
  const rehearsal = { ...withAnotherSecret(clone), image: input.to!, database, copies };
  return [instance, { ...operation, progress: { ...progress, rehearsal, copiedFrom: clone.database } }];
}

/** When it failed it is what it was from here on, and what was tried is named once more, to be dropped. */
function tidying(instance: Instance, operation: Operation): Entered {
  const { progress } = operation;
  const { failure, before } = progress;
  if (!failure || !before) return [instance, operation];
  const { database } = instance.live;
  const discarded = database === before.database ? progress.discarded : database;
  return [
    { ...instance, live: takenBack(instance, before) },
    { ...operation, progress: { ...progress, ...(discarded && { discarded }) } },
  ];
}
