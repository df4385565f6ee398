import { Injectable } from '@nestjs/common';
import { Database, type Transaction } from '#persistence/index.js';
import { type Action, Actions } from '../application/ports.js';

@Injectable()
export class ActionRepository extends Actions {
  constructor(private readonly database: Database) {
    super();
  }

  async note(tx: Transaction, { operationId, instanceId, action }: Action): Promise<void> {
    const sql = 'INSERT INTO action (operation_id, instance_id, action) VALUES ($1, $2, $3)';
    await tx.queryPrepared(sql, [operationId, instanceId, action]);
  }

  async get(operationId: string): Promise<Action | undefined> {
    const [found] = await this.database.query<Action>(
      `SELECT operation_id AS "operationId", instance_id AS "instanceId", action FROM action WHERE operation_id = $1`,
      [operationId],
    );
    return found;
  }
}
