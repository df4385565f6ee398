/** Why an instance cannot be found at these domains of its customer's, and what to do about it. */
export interface DomainFault {
  readonly code: 'domain-not-a-name' | 'domain-of-the-mesh' | 'domain-twice';
  readonly message: string;
}

/**
 * Undefined: it can, as long as nobody else has one of them, which is another question.
 * @param meshDomain names below which the mesh gives itself, by slugs.
 */
export function faultOfCustomDomains(domains: readonly string[], meshDomain: string): DomainFault | undefined {
  for (const [at, domain] of domains.entries()) {
    const shown = JSON.stringify(domain);
    if (!isDomain(domain))
      return {
        code: 'domain-not-a-name',
        message: `${shown} is not a domain: write its whole name as DNS has it, as in shop.example.com, with a-z, 0-9 and hyphens (what has other letters in punycode); it is no address and has no wildcard`,
      };
    if (domain === meshDomain || domain.endsWith(`.${meshDomain}`))
      return {
        code: 'domain-of-the-mesh',
        message: `${shown} is the mesh's own: names of ${meshDomain} are given by slugs, so ask for the slug`,
      };
    if (domains.indexOf(domain) !== at)
      return { code: 'domain-twice', message: `${shown} is named twice: name each domain once` };
  }
  return undefined;
}

/** Whether it is a DNS name in lower case of two labels or more; what ends in a number is read as an address. */
function isDomain(name: string): boolean {
  const labels = name.split('.');
  return (
    name.length <= 253 &&
    labels.length >= 2 &&
    labels.every((label) => /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(label)) &&
    !/^(?:[0-9]+|0x[0-9a-f]*)$/.test(labels.at(-1)!)
  );
}
