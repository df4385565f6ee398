import type { z } from 'zod';

/** Every service of the mesh. The name is its broker user, its database schema and the prefix of its queues. */
export const services = [
  'api-gateway',
  'capacity-planner',
  'provisioner',
  'lifecycle',
  'backup',
  'health-monitor',
  'billing-bridge',
  'edge',
] as const;
export type Service = (typeof services)[number];

/** What a fact is about. Its sequence counts per (source, subject), and only the newest of a type is applied. */
export type SubjectKind =
  | 'instance'
  | 'footprint'
  | 'cell'
  | 'host'
  | 'request'
  | 'template'
  | 'backup'
  | 'restore'
  | 'node'
  | 'bundle'
  | 'fleet-upgrade';

interface Described<Key extends string, Data extends z.ZodType> {
  /** AMQP routing key: `<domain>.<rest-in-kebab>.v<major>`. */
  readonly key: Key;
  /** CloudEvents type: the key with `mesh.` before it. */
  readonly type: `mesh.${Key}`;
  /** One sentence: why this message exists. */
  readonly why: string;
  readonly data: Data;
}

/** An intent: anyone may publish it, exactly one service owns it and answers it. It has no sequence. */
export interface RequestContract<Key extends string = string, Data extends z.ZodType = z.ZodType>
  extends Described<Key, Data> {
  readonly kind: 'request';
  /** `every-owner`: each service that says facts of the wanted kind takes it. */
  readonly owner: Service | 'every-owner';
  /** The broker users whose request is believed; absent: anyone's. */
  readonly believedFrom?: readonly Service[];
  /**
   * Keys of the facts that answer it, under the request's id as `causationid`. A service of the mesh keeps what it asked
   * until each owner has answered, and asks again. Absent: the request has no answer of its own.
   */
  readonly answeredBy?: readonly string[];
  /** Whoever asks again, under the same id, wants it done again; otherwise the second time is a duplicate. */
  readonly repeatable?: boolean;
}

/** Something that has happened: only its publisher says it, anyone may listen. */
export interface FactContract<Key extends string = string, Data extends z.ZodType = z.ZodType>
  extends Described<Key, Data> {
  readonly kind: 'fact';
  /** `every-owner`: each service that owns facts says it of its own. */
  readonly publisher: Service | 'every-owner';
  readonly subject: SubjectKind;
  /** Which field of the data names the subject. */
  readonly subjectOf: (data: z.output<Data>) => string;
  /**
   * Carries a whole current state of its subject, so that a hearer needs nobody else; the newest one is kept, and said
   * again to who was born late.
   */
  readonly whole: boolean;
  /** Keys of facts about the same subject that are not current any more once this one is said. */
  readonly replaces?: readonly string[];
  /**
   * Believed only from its publisher, never from somebody who found it among the parked messages: it allows what cannot
   * be undone, and may be stale.
   */
  readonly firstHand?: boolean;
}

export type Contract<Key extends string = string, Data extends z.ZodType = z.ZodType> =
  | RequestContract<Key, Data>
  | FactContract<Key, Data>;

/** What a handler receives: validated, with defaults filled in. */
export type PayloadOf<C extends Contract> = z.output<C['data']>;
/** What a publisher passes: defaults may be left out. */
export type InputOf<C extends Contract> = z.input<C['data']>;

export function request<const Key extends string, Data extends z.ZodType>(
  key: Key,
  spec: Omit<RequestContract<Key, Data>, 'kind' | 'key' | 'type'>,
): RequestContract<Key, Data> {
  return { kind: 'request', key, type: `mesh.${key}`, ...spec };
}

export function fact<const Key extends string, Data extends z.ZodType>(
  key: Key,
  spec: Omit<FactContract<Key, Data>, 'kind' | 'key' | 'type' | 'whole'> & { readonly whole?: boolean },
): FactContract<Key, Data> {
  return { kind: 'fact', key, type: `mesh.${key}`, ...spec, whole: spec.whole ?? false };
}
