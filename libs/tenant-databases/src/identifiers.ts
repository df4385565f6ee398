/** Quoted, whatever it is: the only way a name gets into a statement. */
export function quoteName(name: string): string {
  if (name.includes('\0')) throw new Error('a name cannot hold a NUL');
  return `"${name.replaceAll('"', '""')}"`;
}

/** For the few statements that take no parameters (COMMENT, ALTER ROLE … PASSWORD). */
export function quoteText(text: string): string {
  if (text.includes('\0')) throw new Error('a text cannot hold a NUL');
  const quoted = `'${text.replaceAll("'", "''").replaceAll('\\', '\\\\')}'`;
  return text.includes('\\') ? ` E${quoted}` : quoted;
}

/** A tenant's role and database: letters, digits, underscores, so that it also fits dbfilter and a folder's name. */
export function checkTenantName(name: string): string {
  if (!/^[a-z][a-z0-9_]{0,62}$/.test(name))
    throw new Error(`not the name of a tenant database: ${JSON.stringify(name)}`);
  return name;
}
