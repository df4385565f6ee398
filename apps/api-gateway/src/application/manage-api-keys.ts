import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { newId } from '#contracts/index.js';
import { Database, type Transaction } from '#persistence/index.js';
import type { Role } from '../domain/access.js';
import type { ApiKey } from '../domain/api-key.js';
import { Once, type Repeatable } from './once.js';
import { ApiKeys, type KeyRights } from './ports.js';

/** It is not believed any more, so nothing can take its place. */
export class KeyEnded extends Error {}

export interface KeyWish {
  readonly name: string;
  readonly role: Role;
  readonly customerId?: string | undefined;
  readonly days?: number | undefined;
}

/** `key`: shown this once; null when it was shown before. */
export type MadeKey = ApiKey & { readonly key: string | null };

/** So that a scanner for lost secrets knows one when it sees it. */
const prefix = 'omk_';

@Injectable()
export class ManageApiKeys {
  constructor(
    private readonly database: Database,
    private readonly keys: ApiKeys,
    private readonly once: Once,
  ) {}

  async all(): Promise<ApiKey[]> {
    return await this.keys.all();
  }

  async get(id: string): Promise<ApiKey | undefined> {
    return await this.keys.get(id);
  }

  async create(wish: KeyWish, repeatable: Repeatable): Promise<MadeKey> {
    const { name, role, customerId = null, days } = wish;
    const endsAt = days === undefined ? null : new Date(Date.now() + days * 86_400_000);
    return await this.make(repeatable, { create: wish }, (tx, id, bearer) =>
      this.keys.add(tx, { id, bearer, name, role, customerId, createdBy: repeatable.caller, endsAt }),
    );
  }

  /**
   * A key with the same rights; the old one ends after the overlap, or when it would have ended. Undefined: there is none
   * of this id. Throws KeyEnded.
   */
  async rotate(id: string, overlapMinutes: number, repeatable: Repeatable): Promise<MadeKey | undefined> {
    if (!(await this.keys.get(id))) return undefined;
    return await this.make(repeatable, { rotate: id, overlapMinutes }, async (tx, newKeyId, bearer) => {
      const old = (await this.keys.lock(tx, id))!;
      const now = new Date();
      if (old.replacedBy !== null || (old.endsAt && old.endsAt <= now)) throw new KeyEnded();
      const { name, role, customerId, endsAt } = old;
      const rights: KeyRights = { name, role, customerId, createdBy: repeatable.caller, endsAt };
      const made = await this.keys.add(tx, { id: newKeyId, bearer, ...rights });
      const at = new Date(Math.min(now.getTime() + overlapMinutes * 60_000, endsAt?.getTime() ?? Infinity));
      await this.keys.end(tx, id, { at, by: repeatable.caller, replacedBy: newKeyId });
      return made;
    });
  }

  /** It is not believed from the next call on. Undefined: there is none of this id. */
  async revoke(id: string, by: string): Promise<ApiKey | undefined> {
    return await this.database.transaction(async (tx) => {
      const key = await this.keys.lock(tx, id);
      if (!key) return undefined;
      await this.keys.end(tx, id, { at: new Date(), by, replacedBy: key.replacedBy });
      return key;
    });
  }

  private async make(
    repeatable: Repeatable,
    request: object,
    add: (tx: Transaction, id: string, bearer: string) => Promise<ApiKey>,
  ): Promise<MadeKey> {
    const bearer = prefix + randomBytes(32).toString('base64url');
    const { answer, repeated } = await this.database.transaction((tx) =>
      this.once.do(tx, repeatable, request, async () => ({ id: (await add(tx, newId(), bearer)).id })),
    );
    return { ...(await this.keys.get(answer.id))!, key: repeated ? null : bearer };
  }
}
