const bad: ReadonlySet<string> = new Set([
  ...['CORRUPTED', 'NOT_EQUAL', 'FILES_MISSING', 'FILE_DAMAGED', 'DUMP_UNREADABLE', 'OBJECT_MISSING', 'LOAD_FAILED'],
]);

/** Whether a failure says something about the backup, and not only about the day on which it was looked at. */
export function isProvedBad(code: string): boolean {
  return bad.has(code);
}
