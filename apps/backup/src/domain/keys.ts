/** The keys of a backup's objects; all below its customer's prefix. */
export interface Keys {
  readonly customer: string;
  readonly instance: string;
  /** All of this one, and nothing of another. */
  readonly backup: string;
  readonly manifest: string;
  /** Of its contents, which all backups of the instance share: `<files><ab>/<sha1>`. */
  readonly files: string;
  /** Where a content of these is kept that was found to be something else: `<damaged><sha1>-<what it is instead>`. */
  readonly damaged: string;
  dump(attempt: string): string;
  fingerprint(attempt: string): string;
  index(attempt: string): string;
}

export function keysOf(
  meshName: string,
  { customerId, instanceId, backupId }: { customerId: string; instanceId: string; backupId: string },
): Keys {
  // A customer's id may hold anything; encoded it can neither leave its prefix nor meet another's.
  const customer = `${meshName}/${encodeURIComponent(customerId).replaceAll('.', '%2E')}/`;
  const instance = `${customer}${instanceId}/`;
  const backup = `${instance}backups/${backupId}/`;
  return {
    customer,
    instance,
    backup,
    manifest: `${backup}manifest.json`,
    files: `${instance}files/`,
    damaged: `${instance}damaged/`,
    dump: (attempt) => `${backup}database-${attempt}.dump`,
    fingerprint: (attempt) => `${backup}fingerprint-${attempt}.json`,
    index: (attempt) => `${backup}files-${attempt}.ndjson.gz`,
  };
}
