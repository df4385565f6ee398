import { readFileSync } from 'node:fs';
import { KubeConfig } from '@kubernetes/client-node';

/** Where the API server is, how to know it, and who we are. */
export interface Connection {
  /** `https://host:port`. */
  readonly origin: string;
  /** What stands before `/api` in every path; mostly nothing. */
  readonly basePath: string;
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string; readonly servername?: string };
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * The current context of a kubeconfig with a token or a client certificate. Throws, naming the file, when there is none,
 * when the server's certificate would not be checked, and on ways to log in that need another program or a password.
 */
export function readConnection(kubeconfig: string): Connection {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  const refuse = (why: string) => new Error(`${kubeconfig} ${why}`);
  if (!cluster || !user) throw refuse('has no current context with a cluster and a user');
  if (cluster.skipTLSVerify) throw refuse("skips the check of the server's certificate; give it certificate-authority");
  if (cluster.proxyUrl) throw refuse('wants a proxy, which is not supported');
  const unsupported = (['exec', 'authProvider', 'username', 'impersonateUser'] as const).find((way) => user[way]);
  if (unsupported)
    throw refuse(`logs in by ${unsupported}, which is not supported; use a token or a client certificate`);

  const pem = (data: string | undefined, file: string | undefined) =>
    data ? Buffer.from(data, 'base64').toString() : file ? readFileSync(file, 'utf8') : undefined;
  const tls = {
    ca: pem(cluster.caData, cluster.caFile),
    cert: pem(user.certData, user.certFile),
    key: pem(user.keyData, user.keyFile),
    servername: cluster.tlsServerName,
  };
  const server = new URL(cluster.server);
  return {
    origin: server.origin,
    basePath: server.pathname.replace(/\/$/, ''),
    tls: Object.fromEntries(Object.entries(tls).filter(([, value]) => value !== undefined)),
    headers: { accept: 'application/json', ...(user.token && { authorization: `Bearer ${user.token}` }) },
  };
}
