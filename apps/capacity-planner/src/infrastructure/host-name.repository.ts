import { Injectable } from '@nestjs/common';
import type { Transaction } from '#persistence/index.js';
import { HostNames } from '../application/ports.js';
import type { HeldName } from '../domain/host-name.js';

@Injectable()
export class HostNameRepository extends HostNames {
  async of(tx: Transaction, instanceId: string): Promise<HeldName[]> {
    return await tx.query<HeldName>(
      `SELECT host, custom, reservation, rests_until IS NOT NULL AS rests FROM host_name WHERE instance_id = $1 ORDER BY taken_at DESC, host`,
      [instanceId],
    );
  }

  async take(tx: Transaction, host: string, instanceId: string): Promise<boolean> {
    const taken = await tx.query(
      `INSERT INTO host_name AS h (host, instance_id) VALUES ($1, $2)
       ON CONFLICT (host) DO UPDATE SET instance_id = excluded.instance_id, rests_until = NULL,
         taken_at = now()
         WHERE h.instance_id = excluded.instance_id OR h.rests_until < now()
       RETURNING 1`,
      [host, instanceId],
    );
    return taken.length > 0;
  }

  async takeAll(
    tx: Transaction,
    names: readonly Pick<HeldName, 'host' | 'custom'>[],
    instanceId: string,
    reservation: string,
  ): Promise<string | undefined> {
    const hosts = names.map(({ host }) => host);
    await tx.query('SAVEPOINT names');
    // In one order, so that of two who want the same the one waits for the other.
    const taken = await tx.query<{ host: string }>(
      `INSERT INTO host_name AS h (host, custom, instance_id, reservation)
       SELECT host, custom, $3, $4 FROM unnest($1::text[], $2::boolean[]) AS wanted (host, custom) ORDER BY host
       ON CONFLICT (host) DO UPDATE SET custom = excluded.custom, instance_id = excluded.instance_id,
         reservation = excluded.reservation, rests_until = NULL, taken_at = now()
         WHERE h.instance_id = excluded.instance_id OR h.rests_until < now()
       RETURNING host`,
      [hosts, names.map(({ custom }) => custom), instanceId, reservation],
    );
    const lacking = hosts.find((host) => !taken.some((one) => one.host === host));
    await tx.query(lacking === undefined ? 'RELEASE SAVEPOINT names' : 'ROLLBACK TO SAVEPOINT names');
    return lacking;
  }

  async rest(tx: Transaction, host: string, instanceId: string, days: number): Promise<void> {
    await tx.query(
      `UPDATE host_name SET rests_until = now() + $3 * interval '1 day' WHERE host = $1 AND instance_id = $2`,
      [host, instanceId, days],
    );
  }

  async release(tx: Transaction, host: string, instanceId: string): Promise<void> {
    await tx.query('DELETE FROM host_name WHERE host = $1 AND instance_id = $2', [host, instanceId]);
  }
}
