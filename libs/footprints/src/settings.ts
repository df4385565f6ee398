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
  /** A file with authorities (PEM) that the router's certificate may be of, beside those that everybody knows. */
  MESH_ROUTER_CA: z.string().min(1).optional(),
};

interface EntrySettings {
  readonly MESH_URL_SCHEME: 'http' | 'https';
  readonly MESH_TLS_SECRET?: string | undefined;
  readonly MESH_URL_PORT?: number | undefined;
  readonly MESH_ROUTER_URL?: string | undefined;
}

/** For zod's `superRefine`: what cannot be meant together. */
export function refuseContradictions(
  { MESH_TLS_SECRET, MESH_URL_SCHEME, MESH_ROUTER_URL }: EntrySettings,
  ctx: { addIssue(issue: { code: 'custom'; path: string[]; message: string }): void },
): void {
  if (MESH_TLS_SECRET === undefined) return;
  const refuse = (setting: string, message: string) => ctx.addIssue({ code: 'custom', path: [setting], message });
  if (MESH_URL_SCHEME !== 'https') refuse('MESH_TLS_SECRET', 'with it MESH_URL_SCHEME has to be https');
  // Routes are on `websecure` alone then: who asked on `web` would never be answered.
  if (MESH_ROUTER_URL?.startsWith('http:'))
    refuse('MESH_ROUTER_URL', 'with MESH_TLS_SECRET it has to be https, of the entry point websecure');
}

/** The address a customer gets. */
export function urlOfHost({ MESH_URL_SCHEME, MESH_URL_PORT }: EntrySettings, host: string): string {
  const port = MESH_URL_PORT ? `:${MESH_URL_PORT}` : '';
  return `${MESH_URL_SCHEME}://${host}${port}`;
}
