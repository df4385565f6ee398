import type { InputOf, InstanceReady } from '#contracts/index.js';
import type { FootprintNames } from '#odoo/index.js';
import { type Footprint, orderOf } from '../domain/footprint.js';

/** The whole state of an instance that has just become ready, so that no hearer needs to ask anybody else. */
export function readyFact(
  footprint: Footprint,
  names: FootprintNames,
  seen: { readonly uuid: string; readonly verified: 'http' | 'pod-condition'; readonly url: string },
): InputOf<typeof InstanceReady> {
  const { footprintId, timings } = footprint;
  const { instanceId, specification, cell, namespace, databaseShard, host, plan, template, claim } = orderOf(footprint);
  return {
    instanceId,
    footprintId,
    customerId: specification.customerId,
    externalRef: specification.externalRef ?? null,
    cell,
    namespace,
    databaseShard,
    database: names.database,
    role: names.role,
    secret: names.secret,
    volumeClaim: names.object,
    host,
    plan,
    template,
    claim,
    timings,
    ...seen,
  };
}
