import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import type { Heard, TestMesh } from './test-mesh.js';

const answers =
  /^instance\.(started|stopped|restarted|suspended|resumed|resized|upgraded|upgrade-failed|renamed|quiesced|released|switched-back|termination-scheduled|termination-cancelled|operation-refused|operation-failed)\.v1$/;

/** What a stranger asks of instances, and what he hears of it. */
export class Lifecycle {
  constructor(private readonly mesh: TestMesh) {}

  /** Asked for, Ready, and known here as running. */
  async running(slug: string, data: Record<string, unknown> = {}) {
    const request = this.mesh.request(slug, data);
    await this.mesh.publish(request);
    const ready = await this.mesh.ready(request.data.instanceId);
    await this.state(ready.instanceId, 'running');
    return ready;
  }

  /** @param what for instance `stop`. @returns the operation's id. */
  async ask(
    what: string,
    instanceId: string,
    {
      reason = 'a test wants it',
      id = newId(),
      time = new Date().toISOString(),
      ...data
    }: Record<string, unknown> = {},
  ): Promise<string> {
    const key = `instance.${what}-requested.v1`;
    const message = {
      ...{ specversion: '1.0', id, source: 'signup', type: `mesh.${key}`, time },
      data: { instanceId, reason, ...data },
    };
    await this.mesh.publish(message, { key });
    return id as string;
  }

  /** All that was said in answer to a request. */
  answersTo(operationId: string): Heard[] {
    const heard = this.mesh.heard.filter(
      ({ key, envelope }) => answers.test(key) && envelope.data.operationId === operationId,
    );
    // A service that dies between sending and noting it sends the same message again; whoever hears it knows its id.
    return [...new Map(heard.map((one) => [one.envelope.id, one])).values()];
  }

  /** All that was said in answer to requests for an instance. */
  answersOf(instanceId: string): Heard[] {
    return this.mesh.heard.filter(({ key, envelope }) => answers.test(key) && envelope.data.instanceId === instanceId);
  }

  /** The fact without `instance.` and version, and its data. */
  async answerTo(operationId: string, timeoutMs = 60_000) {
    const [heard] = await this.mesh.explained(
      waitFor(
        `an answer to operation ${operationId}`,
        () => {
          const found = this.answersTo(operationId);
          return found.length > 0 ? found : undefined;
        },
        { timeoutMs },
      ),
    );
    const { key, envelope } = heard!;
    return { ...envelope.data, fact: /^instance\.(.*)\.v1$/.exec(key)![1]! };
  }

  async do(what: string, instanceId: string, data: Record<string, unknown> = {}) {
    return await this.answerTo(await this.ask(what, instanceId, data));
  }

  /** Lifecycle's last word. */
  stateOf(instanceId: string) {
    return this.mesh.said('instance.state-changed.v1', instanceId).at(-1)?.envelope.data;
  }

  async state(instanceId: string, state: string, timeoutMs = 60_000) {
    return await this.mesh.explained(
      waitFor(
        `instance ${instanceId} to be ${state}`,
        () => {
          const last = this.stateOf(instanceId);
          return last?.state === state && !last.operation ? last : undefined;
        },
        { timeoutMs },
      ),
    );
  }

  /** The backup that an upgrade waits for. */
  async backupAskedFor(operationId: string): Promise<string> {
    return await this.askedFor(operationId, 'backupId');
  }

  private async askedFor(operationId: string, what: 'backupId' | 'restoreId'): Promise<string> {
    return await this.mesh.explained(
      waitFor(`operation ${operationId} to have a ${what}`, async () => {
        const [row] = await this.mesh.sql<{ id: string | null }>(
          'SELECT progress->>$2 AS id FROM lifecycle.operation WHERE operation_id = $1',
          [operationId, what],
        );
        return row?.id ?? undefined;
      }),
    );
  }

  /** The backup service's word that a final backup is good, as its service will publish it. */
  async verifyBackup(instanceId: string, backupId: string, change: Record<string, unknown> = {}): Promise<void> {
    const verified = { depth: 'full', offSite: true, rows: 1, files: 1, verifiedAt: new Date().toISOString() };
    await this.ofBackup('backup.verified.v1', instanceId, { backupId, why: 'final', ...verified, ...change });
  }

  /** The same for a backup that is made. */
  async completeBackup(ready: { instanceId: string; template: unknown }, backupId: string): Promise<void> {
    const made = {
      databaseBytes: 1,
      filesBytes: 1,
      files: 1,
      checksum: 'ab'.repeat(32),
      takenAt: new Date().toISOString(),
    };
    const { template } = ready;
    await this.ofBackup('backup.completed.v1', ready.instanceId, { backupId, why: 'pre-upgrade', template, ...made });
  }

  /** The restore that a rehearsal waits for. */
  async cloneAskedFor(operationId: string): Promise<string> {
    return await this.askedFor(operationId, 'restoreId');
  }

  /** The backup service's word that a clone is made, or is not. */
  async completeClone(instanceId: string, restoreId: string, footprintId: string): Promise<void> {
    await this.ofRestore('restore.completed.v1', instanceId, restoreId, {
      ...{ footprintId, durationMs: 1, rows: 1, files: 1 },
    });
  }

  async failClone(instanceId: string, restoreId: string): Promise<void> {
    const failed = { code: 'NO_ROOM', fault: 'platform', message: 'there is no place for it' };
    await this.ofRestore('restore.failed.v1', instanceId, restoreId, failed);
  }

  async refuseBackup(instanceId: string, backupId: string): Promise<void> {
    const refused = { code: 'IS_QUIESCED', fault: 'user', message: 'somebody else works on it' };
    const key = 'backup.refused.v1';
    const requestId = newId();
    await this.mesh.publish(
      {
        ...{ specversion: '1.0', id: newId(), source: 'backup', type: `mesh.${key}` },
        ...{ subject: requestId, sequence: Date.now() },
        data: { requestId, backupId, instanceId, ...refused },
      },
      { key, as: 'backup' },
    );
  }

  async failBackup(instanceId: string, backupId: string): Promise<void> {
    const failed = { code: 'STORE_UNAVAILABLE', fault: 'provider', message: 'the store does not answer' };
    await this.ofBackup('backup.failed.v1', instanceId, { backupId, why: 'pre-upgrade', ...failed });
  }

  private async ofRestore(
    key: string,
    instanceId: string,
    restoreId: string,
    data: Record<string, unknown>,
  ): Promise<void> {
    await this.mesh.publish(
      {
        ...{ specversion: '1.0', id: newId(), source: 'backup', type: `mesh.${key}` },
        ...{ subject: restoreId, sequence: Date.now() },
        data: { restoreId, instanceId, backupId: newId(), mode: 'clone', ...data },
      },
      { key, as: 'backup' },
    );
  }

  private async ofBackup(key: string, instanceId: string, data: Record<string, unknown>): Promise<void> {
    const { footprintId } = this.stateOf(instanceId)!;
    await this.mesh.publish(
      {
        ...{ specversion: '1.0', id: newId(), source: 'backup', type: `mesh.${key}` },
        ...{ subject: data.backupId, sequence: Date.now() },
        data: { instanceId, footprintId, ...data },
      },
      { key, as: 'backup' },
    );
  }
}
