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
}

/** Something that has happened: only its publisher says it, anyone may listen. */
export interface FactContract<Key extends string = string, Data extends z.ZodType = z.ZodType>
  extends Described<Key, Data> {
  readonly kind: 'fact';
  readonly publisher: Service;
  readonly subject: SubjectKind;
  /** Which field of the data names the subject. */
  readonly subjectOf: (data: z.output<Data>) => string;
  /** Carries the whole current state of its subject, so that a hearer needs nobody else. */
  readonly whole: boolean;
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
