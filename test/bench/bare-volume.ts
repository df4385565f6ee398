import { setTimeout as pause } from 'node:timers/promises';
import { Pool } from 'undici';
import {
  type BackupWork,
  backupNames,
  filesJobManifest,
  snapshotClaimManifest,
  snapshotManifest,
} from '#odoo/index.js';
import type { BareTarget } from './bare-provisioner.js';

const sockets = 16;
const lookAgainMs = 100;

/** Of a tenant: where its volume is. */
export interface BareVolumeOf extends BackupWork {
  readonly claim: string;
}

/**
 * What the files of a backup need of a cluster, as a script asks for it on a good day: a snapshot, a volume of it, a Job
 * that reads that, and away with the three. It imports nothing of ours but the manifests.
 */
export class BareVolume {
  private readonly calls: Pool;

  constructor(private readonly target: Pick<BareTarget, 'apiServer' | 'token' | 'ca'> & { storageClass: string }) {
    this.calls = new Pool(target.apiServer, { connections: sockets, connect: { ca: target.ca } });
  }

  async copy({ claim, ...work }: BareVolumeOf): Promise<void> {
    const names = backupNames(work.id, work.attempt);
    const snapshots = `/apis/snapshot.storage.k8s.io/v1/namespaces/${work.namespace}/volumesnapshots`;
    const claims = `/api/v1/namespaces/${work.namespace}/persistentvolumeclaims`;
    const jobs = `/apis/batch/v1/namespaces/${work.namespace}/jobs`;
    const { storageClass } = this.target;
    await this.call('POST', snapshots, snapshotManifest(work, { claim, snapshotClass: 'mesh-snapshots' }));
    await this.until(`${snapshots}/${names.snapshot}`, ({ status }) => status?.readyToUse);
    await this.call(
      'POST',
      claims,
      snapshotClaimManifest(work, { storageClass, access: 'ReadOnlyMany', storage: '1Gi' }),
    );
    const { spec } = await this.until(`${claims}/${names.claim}`, ({ status }) => status?.phase === 'Bound');
    const job = { image: 'registry.local/mesh-files:1', claim: names.claim, task: '{}', deadlineSeconds: 600 };
    await this.call('POST', jobs, filesJobManifest(work, 'save', job));
    await this.until(`${jobs}/${names.save}`, ({ status }) => status?.succeeded);
    await this.call('DELETE', `${jobs}/${names.save}?propagationPolicy=Background`);
    const released = { spec: { persistentVolumeReclaimPolicy: 'Delete' } };
    await this.call('PATCH', `/api/v1/persistentvolumes/${spec.volumeName}`, released);
    await this.call('DELETE', `${claims}/${names.claim}`);
    await this.call('DELETE', `${snapshots}/${names.snapshot}`);
  }

  async close(): Promise<void> {
    await this.calls.close();
  }

  // biome-ignore lint/suspicious/noExplicitAny: as it comes
  private async until(path: string, is: (object: any) => unknown): Promise<any> {
    for (;;) {
      const object = await this.call('GET', path);
      if (is(object)) return object;
      await pause(lookAgainMs);
    }
  }

  // biome-ignore lint/suspicious/noExplicitAny: as it comes
  private async call(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, object?: object): Promise<any> {
    const { statusCode, body } = await this.calls.request({
      ...{ path, method, ...(object && { body: JSON.stringify(object) }) },
      headers: {
        authorization: `Bearer ${this.target.token}`,
        'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
      },
    });
    const text = await body.text();
    // Two that were counted by the namespace's quota at once: any client tries again.
    if (statusCode === 409 && text.includes('resourcequotas')) return await this.call(method, path, object);
    if (statusCode > 202) throw new Error(`${path} was answered with ${statusCode}: ${text}`);
    return JSON.parse(text);
  }
}
