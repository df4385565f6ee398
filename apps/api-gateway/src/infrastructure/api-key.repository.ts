import { createHash } from 'node:crypto';
import { Database, type Transaction } from '#persistence/index.js';
import { ApiKeys, type KeyRights } from '../application/ports.js';
import type { Caller } from '../domain/access.js';
import type { ApiKey } from '../domain/api-key.js';

const columns = `id, name, role, customer_id AS "customerId", created_at AS "createdAt", created_by AS "createdBy",
  ends_at AS "endsAt", ended_by AS "endedBy", replaced_by AS "replacedBy"`;

/**
 * Keys by their hashes. A plain SHA-256 will do: 32 random bytes cannot be guessed from it. Those of the configuration
 * are administrators, for the first key and for the day on which all others are lost.
 */
export class ApiKeyRepository extends ApiKeys {
  private readonly configured: ReadonlyMap<string, Caller>;

  constructor(
    private readonly database: Database,
    hashes: readonly string[],
  ) {
    super();
    this.configured = new Map(
      hashes.map((hash) => [hash, { keyId: `configured-${hash.slice(0, 8)}`, role: 'admin', customerId: null }]),
    );
  }

  async callerOf(bearer: string): Promise<Caller | undefined> {
    const hash = hashOf(bearer);
    const configured = this.configured.get(hash.toString('hex'));
    if (configured) return configured;
    const [found] = await this.database.query<Caller>(
      `SELECT id AS "keyId", role, customer_id AS "customerId" FROM api_key
       WHERE hash = $1 AND (ends_at IS NULL OR ends_at > now())`,
      [hash],
    );
    return found;
  }

  async all(): Promise<ApiKey[]> {
    return await this.database.query<ApiKey>(`SELECT ${columns} FROM api_key ORDER BY created_at DESC, id DESC`);
  }

  async get(id: string): Promise<ApiKey | undefined> {
    return (await this.database.query<ApiKey>(`SELECT ${columns} FROM api_key WHERE id = $1`, [id]))[0];
  }

  async add(tx: Transaction, key: { readonly id: string; readonly bearer: string } & KeyRights): Promise<ApiKey> {
    const [made] = await tx.query<ApiKey>(
      `INSERT INTO api_key (id, hash, name, role, customer_id, created_by, ends_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING ${columns}`,
      [key.id, hashOf(key.bearer), key.name, key.role, key.customerId, key.createdBy, key.endsAt],
    );
    return made!;
  }

  async lock(tx: Transaction, id: string): Promise<ApiKey | undefined> {
    return (await tx.query<ApiKey>(`SELECT ${columns} FROM api_key WHERE id = $1 FOR UPDATE`, [id]))[0];
  }

  async end(tx: Transaction, id: string, end: { at: Date; by: string; replacedBy: string | null }): Promise<void> {
    await tx.query(
      `UPDATE api_key SET ends_at = least(ends_at, $2), replaced_by = $4,
         ended_by = CASE WHEN ends_at <= now() THEN ended_by ELSE $3 END
       WHERE id = $1`,
      [id, end.at, end.by, end.replacedBy],
    );
  }
}

function hashOf(bearer: string): Buffer {
  return createHash('sha256').update(bearer).digest();
}
