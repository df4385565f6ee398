import { Injectable } from '@nestjs/common';
import { EntitySchema, Not } from 'typeorm';
import { Database, type Transaction } from '#persistence/index.js';
import { Footprints } from '../application/ports.js';
import type { Footprint } from '../domain/footprint.js';
import type { Word } from '../domain/residence.js';

export const FootprintEntity = new EntitySchema<Footprint>({
  name: 'Footprint',
  tableName: 'footprint',
  columns: {
    footprintId: { name: 'footprint_id', type: 'uuid', primary: true },
    instanceId: { name: 'instance_id', type: 'uuid', nullable: true },
    placed: { type: 'jsonb' },
    state: { type: 'text' },
    epoch: { type: 'int' },
    timings: { type: 'jsonb' },
    condition: { type: 'jsonb', nullable: true },
    approval: { type: 'jsonb', nullable: true },
    residence: { type: 'jsonb', nullable: true },
    snapshotsGone: { name: 'snapshots_gone', type: 'text', nullable: true },
    startedAt: { name: 'started_at', type: 'timestamptz' },
    spentMs: { name: 'spent_ms', type: 'int' },
    seenAt: { name: 'seen_at', type: 'timestamptz', nullable: true },
    traceparent: { type: 'text', nullable: true },
    correlationId: { name: 'correlation_id', type: 'text' },
  },
});

@Injectable()
export class FootprintRepository extends Footprints {
  constructor(private readonly database: Database) {
    super();
  }

  async get(footprintId: string): Promise<Footprint | undefined> {
    return (await this.database.dataSource.manager.findOneBy(FootprintEntity, { footprintId })) ?? undefined;
  }

  async lock(tx: Transaction, footprintId: string): Promise<Footprint | undefined> {
    const found = await tx.manager.findOne(FootprintEntity, {
      where: { footprintId },
      lock: { mode: 'pessimistic_write' },
    });
    return found ?? undefined;
  }

  async lockOfInstance(tx: Transaction, instanceId: string): Promise<Footprint | undefined> {
    const found = await tx.manager.findOne(FootprintEntity, {
      where: { instanceId },
      order: { startedAt: 'DESC' },
      lock: { mode: 'pessimistic_write' },
    });
    return found ?? undefined;
  }

  async hasOthers(instanceId: string, footprintId: string): Promise<boolean> {
    return await this.database.dataSource.manager.existsBy(FootprintEntity, {
      instanceId,
      footprintId: Not(footprintId),
      state: Not('removed'),
    });
  }

  async isKnown(tx: Transaction, { instanceId, footprintId, secret, state }: Word): Promise<boolean> {
    const [row] = await tx.queryPrepared<{ known: boolean }>(
      `SELECT count(*) FILTER (WHERE residence->>'live' = 'true') = 1
         AND count(*) FILTER (WHERE footprint_id = $2 AND residence->>'live' = 'true' AND residence->>'secret' = $3
           AND (residence->>'settled' = 'true' OR $4)) = 1 AS known
       FROM footprint WHERE instance_id = $1`,
      [instanceId, footprintId, secret, state === 'maintenance'],
    );
    return row!.known;
  }

  async lockOthers(tx: Transaction, instanceId: string, footprintId: string): Promise<Footprint[]> {
    return await tx.manager.find(FootprintEntity, {
      where: { instanceId, footprintId: Not(footprintId) },
      order: { footprintId: 'ASC' },
      lock: { mode: 'pessimistic_write' },
    });
  }

  async save(tx: Transaction, footprint: Footprint): Promise<void> {
    await tx.manager.upsert(FootprintEntity, footprint, ['footprintId']);
  }
}
