import { z } from 'zod';

/** `name=postgres://…,…`: the shards with the mesh role's address on each. A setting of whoever works on them. */
export const shardUrls = z.string().transform((text, ctx) =>
  text.split(',').map((one) => {
    const at = one.indexOf('=');
    const [name, url] = [one.slice(0, at), one.slice(at + 1)];
    if (at < 1 || !URL.canParse(url)) ctx.addIssue('not a list of name=postgres://…');
    return { name, url };
  }),
);

/** How browsers reach instances; the same for everybody who writes routes. */
export const entrySettings = {
  MESH_URL_SCHEME: z.enum(['http', 'https']).default('https'),
  /**
   * A Secret, in the namespace of every cell, with a certificate that is good for all hosts: routes are on the router's
   * entry point `websecure` then. Without it they are on `web`, and who ends TLS, if anybody, stands before the router.
   */
  MESH_TLS_SECRET: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'not the name of a Secret')
    .optional(),
  /** In the address a customer gets, where it is not the scheme's own. */
  MESH_URL_PORT: z.coerce.number().int().min(1).max(65_535).optional(),
  /** The router of all hosts: an instance is Ready when it answers there. Without it, when its pod is. */
  MESH_ROUTER_URL: z.url({ protocol: /^https?$/ }).optional(),
};

interface EntrySettings {
  readonly MESH_URL_SCHEME: 'http' | 'https';
  readonly MESH_TLS_SECRET?: string | undefined;
  readonly MESH_URL_PORT?: number | undefined;
}

export const contradiction = {
  holds: (all: EntrySettings) => all.MESH_TLS_SECRET === undefined || all.MESH_URL_SCHEME === 'https',
  issue: { path: ['MESH_TLS_SECRET'], error: 'with it MESH_URL_SCHEME has to be https' },
};

/** The address a customer gets. */
export function urlOfHost({ MESH_URL_SCHEME, MESH_URL_PORT }: EntrySettings, host: string): string {
  const port = MESH_URL_PORT ? `:${MESH_URL_PORT}` : '';
  return `${MESH_URL_SCHEME}://${host}${port}`;
}
