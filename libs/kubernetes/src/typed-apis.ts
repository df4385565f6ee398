import {
  type Configuration,
  createConfiguration,
  ResponseContext,
  ServerConfiguration,
  wrapHttpLibrary,
} from '@kubernetes/client-node';
import type { Request } from './api-server.js';
import type { KubernetesClient } from './client.js';
import { kindOf } from './resources.js';
import type { Priority } from './token-bucket.js';

/**
 * client-node's own classes over our connections: `new CoreV1Api(typedApis(client))`. For what the client has no method
 * for. Their errors are client-node's ApiException, whose message holds the whole answer: not for Secrets.
 */
export function typedApis(client: KubernetesClient, priority: Priority = 'interactive'): Configuration {
  const httpApi = wrapHttpLibrary({
    async send(request) {
      const url = new URL(request.getUrl());
      const method = request.getHttpMethod() as Request['method'];
      const { 'Content-Type': contentType } = request.getHeaders();
      const body = request.getBody() as string | undefined;
      const signal = request.getSignal();
      const basePath = new URL(client.server.url).pathname.replace(/\/$/, '');
      const path = url.pathname.slice(basePath.length) + url.search;
      const answer = await client.server.send({
        verb: method.toLowerCase(),
        kind: kindIn(url.pathname.slice(basePath.length)),
        object: url.pathname,
        method,
        path,
        priority,
        ...(body !== undefined && { body }),
        ...(contentType !== undefined && { contentType }),
        ...(signal && { signal }),
      });
      const headers = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, String(value)]));
      return new ResponseContext(answer.status, headers, {
        text: async () => answer.text,
        binary: async () => Buffer.from(answer.text),
        stream: () => null,
      });
    },
  });
  return createConfiguration({ baseServer: new ServerConfiguration(client.server.url, {}), httpApi, authMethods: {} });
}

/** `/apis/apps/v1/namespaces/x/deployments/y` → `Deployment`; what we have no name for stays as the URL has it. */
function kindIn(path: string): string {
  const [, ...rest] = path.startsWith('/apis/') ? path.split('/').slice(3) : path.split('/').slice(2);
  const plural = (rest[0] === 'namespaces' && rest[2]) || rest[0] || 'none';
  return kindOf(plural) ?? plural;
}
