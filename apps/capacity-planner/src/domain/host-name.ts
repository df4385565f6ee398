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

/** Of a customer's domain. Once it is given up it may be somebody else's at once: that is for DNS to say, not for the mesh. */
export function domainTaken(domain: string): { readonly code: 'domain-taken'; readonly message: string } {
  return {
    code: 'domain-taken',
    message: `another instance has ${domain}: take it away there first, or leave it out`,
  };
}

/** A host name that became free rests this long, so that old links and cookies do not reach a new customer. */
export const restDays = 30;

export interface HeldName {
  readonly host: string;
  /** A domain of the customer's: nothing is called by it alone, and it does not rest. */
  readonly custom: boolean;
  /** The request by which it was taken last; null: it was said by none, or before this was kept. */
  readonly reservation: string | null;
  /** It was given up, and nobody else may have it yet. */
  readonly rests: boolean;
}

export type Release =
  /** `main`: what the instance is called from then on. */
  | { readonly kind: 'release'; readonly main: string }
  /** It was given up before. */
  | { readonly kind: 'released' }
  /** A domain of the customer's, from then on for anybody; or it was so before. */
  | { readonly kind: 'free' }
  /** It was taken again since then, by this request. */
  | { readonly kind: 'kept'; readonly reservation: string }
  | { readonly kind: 'impossible'; readonly why: string };

/**
 * What it means that an instance gives a name up.
 * @param main what it is called. @param names all of its, the last one taken first.
 * @param reservation of a domain of the customer's: the request by which it was taken.
 */
export function releaseOf(host: string, main: string, names: readonly HeldName[], reservation?: string): Release {
  const found = names.find((one) => one.host === host);
  // Nothing is left of a domain that was given up before.
  if (!found && reservation !== undefined) return { kind: 'free' };
  if (!found) return { kind: 'impossible', why: 'it is not one of the names of this instance' };
  if (found.custom && found.reservation !== null && found.reservation !== reservation)
    return { kind: 'kept', reservation: found.reservation };
  if (found.custom) return { kind: 'free' };
  if (found.rests) return { kind: 'released' };
  if (host !== main) return { kind: 'release', main };
  const other = names.find((one) => one.host !== host && !one.rests && !one.custom);
  return other
    ? { kind: 'release', main: other.host }
    : { kind: 'impossible', why: 'it is the only name of this instance, which has not ended' };
}
