import type { Role } from './access.js';

/** A key as it may be shown. The key itself is kept nowhere, only its hash. */
export interface ApiKey {
  readonly id: string;
  /** What it is for, in words of whoever made it. */
  readonly name: string;
  readonly role: Role;
  readonly customerId: string | null;
  readonly createdAt: Date;
  /** The id of the key that made it. */
  readonly createdBy: string;
  /** From then on it is not believed: it was made for so long, rotated or revoked. */
  readonly endsAt: Date | null;
  readonly endedBy: string | null;
  /** The key that it was rotated to. */
  readonly replacedBy: string | null;
}
