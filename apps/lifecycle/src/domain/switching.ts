import type { FootprintReady, PayloadOf } from '#contracts/index.js';
import { findPlan } from '#odoo/index.js';
import type { Failure } from './failure.js';
import { type FormerFootprint, type Instance, type Live, placeOf, planOf } from './instance.js';

/** A footprint that was made for a restore, a move, a rebuild or a clone, as its fact told of it. */
export interface ReadyFootprint {
  readonly ready: PayloadOf<typeof FootprintReady>;
  readonly removed: boolean;
}

/** Why the instance cannot live there; undefined: it can. One that it lived in before and that is kept is known without its fact. */
export function refusalOfSwitch(
  instance: Pick<Instance, 'instanceId' | 'live' | 'placed' | 'formerFootprints'>,
  footprintId: string,
  footprint: ReadyFootprint | undefined,
): Failure | undefined {
  const refused = (code: string, message: string): Failure => ({ code, fault: 'user', message });
  if (footprintId === instance.live.footprintId) return refused('IS_LIVE', `it lives in ${footprintId} already`);
  const former = formerOf(instance, footprintId);
  if (former?.removal || footprint?.removed) return refused('FOOTPRINT_REMOVED', `${footprintId} is removed`);
  if (former) return undefined;
  if (!footprint) return refused('UNKNOWN_FOOTPRINT', `nobody has told of a footprint ${footprintId} that is Ready`);
  const { sourceInstanceId, template, plan, purpose } = footprint.ready;
  // It is neutralised.
  if (purpose === 'clone') return refused('IS_CLONE', `${footprintId} was made for somebody else than an instance`);
  if (sourceInstanceId !== instance.instanceId)
    return refused('OTHER_INSTANCE', `${footprintId} was made for ${sourceInstanceId ?? 'nobody'}`);
  const { version } = placeOf(instance).template;
  if (template.version !== version)
    return refused('OTHER_VERSION', `${footprintId} is for Odoo ${template.version}, and it runs ${version}`);
  if (!findPlan(plan.name, plan.version))
    return refused('UNKNOWN_PLAN', `the plan ${plan.name} (${plan.version}) of ${footprintId} is not known`);
  return undefined;
}

/** Why it cannot go back there; undefined: it can. */
export function refusalOfSwitchBack(
  instance: Pick<Instance, 'formerFootprints'>,
  footprintId: string,
): Failure | undefined {
  const former = formerOf(instance, footprintId);
  if (former?.removal === null) return undefined;
  const message = former
    ? `${footprintId} is being removed`
    : `it did not live in ${footprintId}, or that is not kept any more`;
  return { code: 'NOT_KEPT', fault: 'user', message };
}

/** What it would live in there, as that is now. */
export function targetOf(
  instance: Pick<Instance, 'live' | 'formerFootprints'>,
  footprintId: string,
  footprint: ReadyFootprint | undefined,
): Live {
  const former = formerOf(instance, footprintId);
  if (former) return former.live;
  const { cell, namespace, databaseShard, template, plan, database } = footprint!.ready;
  return {
    footprintId,
    place: { cell, namespace, databaseShard, template },
    plan,
    image: template.image,
    database,
    secretVersion: 1,
    lastSecretVersion: 1,
    copies: 0,
    storageBytes: planOf(plan).storageBytes,
    host: instance.live.host,
  };
}

/** Wherever an instance lives, its plan and its names are its own. */
export function livingIn(target: Live, { live }: Pick<Instance, 'live'>): Live {
  const { plan, host, formerHosts, customDomains } = live;
  const { formerHosts: _, customDomains: __, ...there } = target;
  const fitted = isOf(target, plan) ? there : withAnotherSecret(there);
  const storageBytes = Math.max(target.storageBytes, planOf(plan).storageBytes);
  const names = { host, ...(formerHosts && { formerHosts }), ...(customDomains && { customDomains }) };
  return { ...fitted, plan, storageBytes, ...names };
}

function isOf({ plan }: Live, { name, version }: Live['plan']): boolean {
  return plan.name === name && plan.version === version;
}

export function withAnotherSecret(live: Live): Live {
  const version = live.lastSecretVersion + 1;
  return { ...live, secretVersion: version, lastSecretVersion: version };
}

/** It lives there now; what it lived in before is kept until then, with all that is in it. */
export function switched(instance: Instance, before: Live, until: string): Instance {
  const { live, kept, formerFootprints } = instance;
  const returned = formerOf(instance, live.footprintId);
  const left: FormerFootprint = { live: before, kept, until, removal: null };
  return {
    ...instance,
    kept: returned?.kept ?? null,
    formerFootprints: [...formerFootprints.filter((one) => one !== returned), left],
  };
}

/** The clone is not wanted any more, from then on. */
export function withoutClone(instance: Instance, clone: Live | undefined, now: Date): Instance {
  if (!clone || formerOf(instance, clone.footprintId)) return instance;
  const due: FormerFootprint = { live: clone, kept: null, until: now.toISOString(), removal: 'due' };
  return { ...instance, formerFootprints: [...instance.formerFootprints, due] };
}

/** What was tried there cannot be taken back: a version is never made twice, and no volume becomes smaller. */
export function afterTrying(formerFootprints: readonly FormerFootprint[], tried: Live): readonly FormerFootprint[] {
  const { lastSecretVersion, storageBytes } = tried;
  return formerFootprints.map((one) =>
    one.live.footprintId === tried.footprintId
      ? { ...one, live: { ...one.live, lastSecretVersion, storageBytes } }
      : one,
  );
}

export function formerOf(
  { formerFootprints }: Pick<Instance, 'formerFootprints'>,
  footprintId: string,
): FormerFootprint | undefined {
  return formerFootprints.find(({ live }) => live.footprintId === footprintId);
}
