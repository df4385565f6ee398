import { Injectable } from '@nestjs/common';
import { EntitySchema } from 'typeorm';
import { Database, type Transaction } from '#persistence/index.js';
import { Instances, type Purge } from '../application/ports.js';
import type { Instance, MadeFootprint } from '../domain/instance.js';

export const InstanceEntity = new EntitySchema<Instance>({
  name: 'Instance',
  tableName: 'instance',
  columns: {
    instanceId: { name: 'instance_id', type: 'uuid', primary: true },
    customerId: { name: 'customer_id', type: 'text' },
    placed: { type: 'jsonb' },
    plan: { type: 'jsonb' },
    state: { type: 'text', nullable: true },
    since: { type: 'timestamptz', nullable: true },
    live: { type: 'jsonb', nullable: true },
    quiesce: { type: 'jsonb', nullable: true },
  },
});

interface FootprintRow {
  readonly footprintId: string;
  readonly made: MadeFootprint;
}

export const FootprintEntity = new EntitySchema<FootprintRow>({
  name: 'Footprint',
  tableName: 'footprint',
  columns: {
    footprintId: { name: 'footprint_id', type: 'uuid', primary: true },
    made: { type: 'jsonb' },
  },
});

export const PurgeEntity = new EntitySchema<Purge>({
  name: 'Purge',
  tableName: 'purge',
  columns: {
    approvalId: { name: 'approval_id', type: 'text', primary: true },
    instanceId: { name: 'instance_id', type: 'uuid' },
    footprintId: { name: 'footprint_id', type: 'uuid' },
    namespace: { type: 'text' },
    traceparent: { type: 'text', nullable: true },
    correlationId: { name: 'correlation_id', type: 'text' },
  },
});

@Injectable()
export class InstanceRepository extends Instances {
  constructor(private readonly database: Database) {
    super();
  }

  async get(instanceId: string): Promise<Instance | undefined> {
    return (await this.database.dataSource.manager.findOneBy(InstanceEntity, { instanceId })) ?? undefined;
  }

  async lock(tx: Transaction, instanceId: string): Promise<Instance | undefined> {
    const found = await tx.manager.findOne(InstanceEntity, {
      where: { instanceId },
      lock: { mode: 'pessimistic_write' },
    });
    return found ?? undefined;
  }

  async save(tx: Transaction, instance: Instance): Promise<void> {
    await tx.manager.upsert(InstanceEntity, instance, ['instanceId']);
  }

  async footprint(footprintId: string): Promise<MadeFootprint | undefined> {
    return (await this.database.dataSource.manager.findOneBy(FootprintEntity, { footprintId }))?.made;
  }

  async saveFootprint(tx: Transaction, made: MadeFootprint): Promise<void> {
    await tx.manager.upsert(FootprintEntity, { footprintId: made.footprintId, made }, ['footprintId']);
  }

  async forgetFootprint(tx: Transaction, footprintId: string): Promise<void> {
    await tx.query('DELETE FROM footprint WHERE footprint_id = $1', [footprintId]);
  }

  async purge(approvalId: string): Promise<Purge | undefined> {
    return (await this.database.dataSource.manager.findOneBy(PurgeEntity, { approvalId })) ?? undefined;
  }

  async savePurge(tx: Transaction, purge: Purge): Promise<void> {
    await tx.manager.upsert(PurgeEntity, purge, ['approvalId']);
  }

  async forgetPurge(tx: Transaction, approvalId: string): Promise<void> {
    await tx.query('DELETE FROM purge WHERE approval_id = $1', [approvalId]);
  }
}
