/**
 * The name in a `Host` header as names are compared: small letters, without port and final dot. Undefined: it is none, so
 * nobody has it.
 */
export function hostNameOf(header: string | undefined): string | undefined {
  const name = header?.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
  if (!name || name.length > 253) return undefined;
  const label = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
  return name.split('.').every((one) => label.test(one)) ? name : undefined;
}
