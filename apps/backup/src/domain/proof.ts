const bad: ReadonlySet<string> = new Set([
  ...['CORRUPTED', 'NOT_EQUAL', 'FILES_MISSING', 'FILE_DAMAGED', 'DUMP_UNREADABLE', 'OBJECT_MISSING'],
]);

/**
 * A backup has what was in the volume, all of it: what its database names besides was lost in the instance before. That is
 * a file here and there. So many at once, or all there are, are not lost one by one: rather something else was copied than
 * that instance's files, and nothing may hang on it.
 *
 * @param named by the database, each once
 * @param missing how many of these the backup has not
 */
export function isOfOtherFiles({ named, missing }: { readonly named: number; readonly missing: number }): boolean {
  return missing > Math.max(1, named / 10) || (missing > 0 && missing === named);
}

/** Of what can also be the fault of a day: a node that was lost, memory that was short. */
const timesToBelieve = 3;

/**
 * Whether a failure says something about the backup, and not only about the day on which it was looked at.
 * @param failures how many proofs of it have failed in a row, this one included.
 */
export function isProvedBad(code: string, failures: number): boolean {
  return bad.has(code) || (code === 'ODOO_DOES_NOT_LOAD' && failures >= timesToBelieve);
}
