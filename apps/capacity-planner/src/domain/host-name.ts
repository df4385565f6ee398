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

/** A host name that became free rests this long, so that old links and cookies do not reach a new customer. */
export const restDays = 30;
