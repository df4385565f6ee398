/** Why a shard did not do what was asked. `retryable`: the same again may work. */
export class TenantDatabaseError extends Error {
  constructor(
    readonly code:
      | 'FOREIGN_OBJECT'
      | 'SHARD_NOT_PREPARED'
      | 'TEMPLATE_BUSY'
      | 'TEMPLATE_MISSING'
      | 'SOURCE_BUSY'
      | 'SOURCE_MISSING'
      | 'TENANT_MISSING'
      | 'DATABASE_MISSING'
      | 'DATABASE_IN_USE'
      | 'STILL_CONNECTED'
      | 'BAD_NAME'
      | 'ROLE_OWNS_MORE'
      | 'LANGUAGE_NOT_LOADED'
      | 'BAD_VALUE'
      | 'NOT_ODOO'
      | 'NOT_PRIMARY'
      | 'READER_NOT_ALLOWED'
      | 'LOCK_TIMEOUT'
      | 'SNAPSHOT_LOST'
      | 'TOOK_TOO_LONG'
      | 'SERVER_TOO_OLD'
      | 'TOOL_MISSING'
      | 'TOOL_TOO_OLD'
      | 'DUMP_FAILED'
      | 'DUMP_UNREADABLE'
      | 'DUMP_CHANGED'
      | 'RESTORE_FAILED'
      | 'NOT_FILLED'
      | 'NOT_NEUTRALISED',
    message: string,
    readonly retryable: boolean,
  ) {
    super(message);
    this.name = 'TenantDatabaseError';
  }
}
