import {
  type Contract,
  InstancePlaced,
  InstancePlacementDeferred,
  InstanceProvisioningFailed,
  InstanceProvisioningProgressed,
  InstanceReady,
  InstanceRefused,
  type PayloadOf,
} from '#contracts/index.js';
import type { Program } from './mesh-install.js';

/** How the making of an instance ended. */
export type End =
  | { readonly kind: 'ready'; readonly host: string; readonly url: string; readonly verified: string }
  | { readonly kind: 'refused' | 'failed'; readonly culprit: Program; readonly code: string; readonly message: string };

/** What one fact tells of the making. */
export interface Told {
  /** ✓ done, … waiting, ✗ over. */
  readonly mark: '✓' | '…' | '✗';
  readonly what: string;
  readonly note: string;
  /** Who has to go on. */
  readonly next?: Program;
  readonly end?: End;
}

const tellers = [
  teller(InstancePlaced, ({ host, cell, databaseShard }) => ({
    mark: '✓',
    what: 'placed',
    note: `${host} in cell ${cell}, database shard ${databaseShard}`,
    next: 'provisioner',
  })),
  teller(InstancePlacementDeferred, ({ reason, message }) => ({
    mark: '…',
    what: 'place',
    note: `waits, ${reason}: ${message}`,
  })),
  teller(InstanceRefused, ({ code, message }) => ({
    mark: '✗',
    what: 'refused',
    note: `${code}: ${message}`,
    end: { kind: 'refused', culprit: 'capacity-planner', code, message },
  })),
  teller(InstanceProvisioningProgressed, ({ step, durationMs, condition }) =>
    condition
      ? { mark: '…', what: step, note: `waits, ${condition.reason}: ${condition.message}` }
      : { mark: '✓', what: step, note: durationMs === undefined ? '' : `took ${durationMs} ms` },
  ),
  teller(InstanceProvisioningFailed, ({ code, message }) => ({
    mark: '✗',
    what: 'failed',
    note: `${code}: ${message}`,
    end: { kind: 'failed', culprit: 'provisioner', code, message },
  })),
  teller(InstanceReady, ({ host, url, verified }) => ({
    mark: '✓',
    what: 'Ready',
    note: `verified: ${verified}`,
    end: { kind: 'ready', host, url, verified },
  })),
];

/** The keys of the facts that tell something of an instance's making. */
export const toldKeys: readonly string[] = tellers.map(({ key }) => key);

/** Undefined for a message that is about another instance, or is none of these facts. */
export function tell(key: string, body: string, instanceId: string): Told | undefined {
  return tellers.find((one) => one.key === key)?.tell(JSON.parse(body).data, instanceId);
}

/** Of the operation that a message is part of. */
export function traceIdOf(body: string): string | undefined {
  const { traceparent } = JSON.parse(body) as { traceparent?: string };
  return traceparent?.split('-')[1];
}

/** One line of the story: `✓ secret            0.09 s  took 12 ms`; the time is that since the request. */
export function line({ mark, what, note }: Told, sinceMs: number): string {
  return `${mark} ${what.padEnd(16)} ${`${(sinceMs / 1000).toFixed(2)} s`.padStart(7)}  ${note}`.trimEnd();
}

function teller<C extends Contract>(contract: C, told: (data: PayloadOf<C>) => Told) {
  return {
    key: contract.key,
    tell(data: unknown, instanceId: string): Told | undefined {
      if ((data as { instanceId?: string }).instanceId !== instanceId) return undefined;
      return told(contract.data.parse(data) as PayloadOf<C>);
    },
  };
}
