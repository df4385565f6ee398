import { Injectable } from '@nestjs/common';
import { EntitySchema } from 'typeorm';
import { Database, type Transaction } from '#persistence/index.js';
import { Instances } from '../application/ports.js';
import type { Instance } from '../domain/instance.js';

export const InstanceEntity = new EntitySchema<Instance>({
  name: 'Instance',
  tableName: 'instance',
  columns: {
    instanceId: { name: 'instance_id', type: 'uuid', primary: true },
    placed: { type: 'jsonb' },
    state: { type: 'text' },
    previous: { type: 'text', nullable: true },
    reason: { type: 'text' },
    since: { type: 'timestamptz' },
    ownerWants: { name: 'owner_wants', type: 'text' },
    suspension: { type: 'jsonb', nullable: true },
    termination: { type: 'jsonb', nullable: true },
    quiesce: { type: 'jsonb', nullable: true },
    live: { type: 'jsonb' },
    kept: { type: 'jsonb', nullable: true },
    formerFootprints: { name: 'former_footprints', type: 'jsonb' },
    epoch: { type: 'int' },
    everReady: { name: 'ever_ready', type: 'boolean' },
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

  async lockFormerDweller(tx: Transaction, footprintId: string): Promise<Instance | undefined> {
    const found = await tx.manager
      .createQueryBuilder(InstanceEntity, 'instance')
      // As the index has it, which holds those few that have any.
      .where(`former_footprints <> '[]' AND former_footprints @> :one::jsonb`, {
        one: JSON.stringify([{ live: { footprintId } }]),
      })
      .setLock('pessimistic_write')
      .getOne();
    return found ?? undefined;
  }

  async save(tx: Transaction, instance: Instance): Promise<void> {
    await tx.manager.upsert(InstanceEntity, instance, ['instanceId']);
  }
}
