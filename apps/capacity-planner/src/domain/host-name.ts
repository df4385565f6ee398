/** Names that the platform needs itself, or that would let a customer pose as the platform. */
const reserved = new Set(
  `about abuse account accounts admin administrator api app assets auth autoconfig autodiscover billing blog cdn chat
  console dashboard demo dev dns docs download edge email ftp git grafana help helpdesk host hostmaster imap info
  internal jaeger kubernetes legal localhost login mail mesh monitor monitoring mx ns ns1 ns2 odoo official payment
  payments pop portal postmaster prometheus proxy public root secure security shop signup smtp ssl staging static
  status store support sysadmin system test traefik usage user users vpn webmail webmaster www`.split(/\s+/),
);

/** Why no instance may be called so; undefined: it may. Whether somebody has the name already is another question. */
export function faultOfSlug(slug: string): { code: 'slug-not-a-label' | 'slug-reserved'; message: string } | undefined {
  // RFC 1123 label, lower case; punycode (xn--) could look like somebody else's name.
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(slug) || slug.startsWith('xn--'))
    return {
      code: 'slug-not-a-label',
      message: 'a slug has 1 to 63 of a-z, 0-9 and hyphens, no hyphen at its ends, and does not begin with xn--',
    };
  if (reserved.has(slug)) return { code: 'slug-reserved', message: 'this slug is reserved for the platform' };
  return undefined;
}

export const slugTaken = {
  code: 'slug-taken',
  message: 'another instance has this name, or had it until recently',
} as const;

/** A host name that became free rests this long, so that old links and cookies do not reach a new customer. */
export const restDays = 30;

export interface HeldName {
  readonly host: string;
  /** It was given up, and nobody else may have it yet. */
  readonly rests: boolean;
}

export type Release =
  /** `main`: what the instance is called from then on. */
  | { readonly kind: 'release'; readonly main: string }
  /** It was given up before. */
  | { readonly kind: 'released' }
  | { readonly kind: 'impossible'; readonly why: string };

/**
 * What it means that an instance gives a name up.
 * @param main what it is called. @param names all of its, the last one taken first.
 */
export function releaseOf(host: string, main: string, names: readonly HeldName[]): Release {
  const found = names.find((one) => one.host === host);
  if (!found) return { kind: 'impossible', why: 'it is not one of the names of this instance' };
  if (found.rests) return { kind: 'released' };
  if (host !== main) return { kind: 'release', main };
  const other = names.find((one) => one.host !== host && !one.rests);
  return other
    ? { kind: 'release', main: other.host }
    : { kind: 'impossible', why: 'it is the only name of this instance, which has not ended' };
}
