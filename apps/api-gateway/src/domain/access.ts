/** Each may do what those before it may. */
export const roles = ['viewer', 'operator', 'admin'] as const;
export type Role = (typeof roles)[number];

/** Who calls: the key that was shown, and what it stands for. */
export interface Caller {
  readonly keyId: string;
  readonly role: Role;
  /** Its key is for this customer's instances only; null: for all of them, and for what belongs to none. */
  readonly customerId: string | null;
}

/** What a call takes. `platform`: it is about more than one customer's instances. */
export interface Right {
  readonly role: Role;
  readonly scope: 'customer' | 'platform';
}

export function may(caller: Caller, right: Right): boolean {
  if (right.scope === 'platform' && caller.customerId !== null) return false;
  return roles.indexOf(caller.role) >= roles.indexOf(right.role);
}

/** Whether something of this customer exists for the caller. */
export function sees(caller: Caller, customerId: string | null): boolean {
  return caller.customerId === null || caller.customerId === customerId;
}
