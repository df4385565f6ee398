const bad: ReadonlySet<string> = new Set([
  ...['CORRUPTED', 'NOT_EQUAL', 'FILES_MISSING', 'FILE_DAMAGED', 'DUMP_UNREADABLE', 'OBJECT_MISSING'],
]);

/** Of what can also be the fault of a day: a node that was lost, memory that was short. */
const timesToBelieve = 3;

/**
 * Whether a failure says something about the backup, and not only about the day on which it was looked at.
 * @param failures how many proofs of it have failed in a row, this one included.
 */
export function isProvedBad(code: string, failures: number): boolean {
  return bad.has(code) || (code === 'ODOO_DOES_NOT_LOAD' && failures >= timesToBelieve);
}
