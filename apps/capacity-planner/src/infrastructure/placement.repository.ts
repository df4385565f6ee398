import { Injectable } from '@nestjs/common';
import { EntitySchema } from 'typeorm';
import { Database, type Transaction } from '#persistence/index.js';
import { Placements } from '../application/ports.js';
import type { Placement } from '../domain/placement.js';

export const PlacementEntity = new EntitySchema<Placement & { acceptedAt: Date }>({
  name: 'Placement',
  tableName: 'placement',
  columns: {
    instanceId: { name: 'instance_id', type: 'uuid', primary: true },
    requestId: { name: 'request_id', type: 'text' },
    specification: { type: 'jsonb' },
    state: { type: 'text' },
    waitsFor: { name: 'waits_for', type: 'text', nullable: true },
    host: { type: 'text' },
    plan: { type: 'jsonb', nullable: true },
    footprintId: { name: 'footprint_id', type: 'uuid', nullable: true },
    cell: { type: 'text', nullable: true },
    databaseShard: { name: 'database_shard', type: 'text', nullable: true },
    traceparent: { type: 'text', nullable: true },
    correlationId: { name: 'correlation_id', type: 'text' },
    acceptedAt: { name: 'accepted_at', type: 'timestamptz', createDate: true },
  },
});

@Injectable()
export class PlacementRepository extends Placements {
  constructor(private readonly database: Database) {
    super();
  }

  async lock(tx: Transaction, instanceId: string): Promise<Placement | undefined> {
    // The lock also holds where there is no row yet: two first requests for one instance come one after the other.
    await tx.query(`SELECT pg_advisory_xact_lock(hashtextextended('placement ' || $1, 0))`, [instanceId]);
    return await this.get(tx, instanceId);
  }

  async get(tx: Transaction, instanceId: string): Promise<Placement | undefined> {
    return (await tx.manager.findOneBy(PlacementEntity, { instanceId })) ?? undefined;
  }

  async isLivedIn(tx: Transaction, footprintId: string): Promise<boolean> {
    return await tx.manager.existsBy(PlacementEntity, { footprintId, state: 'placed' });
  }

  async save(tx: Transaction, placement: Placement): Promise<void> {
    // As it was read it has lost its microseconds, and with them its place among those that came at the same time.
    const { acceptedAt: _, ...changed } = placement as Placement & { acceptedAt?: Date };
    await tx.manager.upsert(PlacementEntity, changed, ['instanceId']);
  }

  async remove(tx: Transaction, instanceId: string): Promise<void> {
    await tx.manager.delete(PlacementEntity, { instanceId });
  }

  async waiting(limit: number): Promise<Placement[]> {
    return await this.database.dataSource.manager.find(PlacementEntity, {
      where: { state: 'waiting' },
      order: { acceptedAt: 'ASC', instanceId: 'ASC' },
      take: limit,
    });
  }
}
