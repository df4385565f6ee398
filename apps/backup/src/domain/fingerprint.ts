type Tables = Readonly<Record<string, readonly [rows: number, checksum: string]>>;

/** What is not equal, in words for a person; at most ten. */
export function differencesOf(expected: { readonly tables: Tables }, found: { readonly tables: Tables }): string[] {
  const names = [...new Set([...Object.keys(expected.tables), ...Object.keys(found.tables)])].sort();
  const differences: string[] = [];
  for (const name of names) {
    const [then, now] = [expected.tables[name], found.tables[name]];
    if (!now) differences.push(`${name} is missing`);
    else if (!then) differences.push(`${name} is not of it`);
    else if (then[0] !== now[0]) differences.push(`${name} has ${now[0]} rows instead of ${then[0]}`);
    else if (then[1] !== now[1]) differences.push(`${name} has other rows`);
    if (differences.length === 10) break;
  }
  return differences;
}
