import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import helmet from 'helmet';
import { newId } from '#contracts/index.js';
import type { Route } from './route.js';

interface Request {
  readonly headers: Readonly<Record<string, string | undefined>>;
}
interface Response {
  setHeader(name: string, value: string): void;
  type(type: string): { send(body: string): void };
}
// biome-ignore lint/suspicious/noExplicitAny: helmet types its requests by node:http, Express by more
type Middleware = (request: any, response: any, next: () => void) => void;

/** The little of Express that is used here. */
export interface Door {
  use(...pathAndMiddleware: readonly (string | Middleware)[]): unknown;
  set(setting: string, value: unknown): unknown;
  disable(setting: string): unknown;
}

/**
 * What stands before every route, and before bodies are read: the id of the request, headers that keep browsers from
 * guessing, and the reference page at /docs. Called before the application is initialised.
 */
export function openFrontDoor(door: Door, serveFiles: (folder: string, prefix: string) => void, proxies: string): void {
  door.disable('x-powered-by');
  if (proxies) door.set('trust proxy', proxies.split(','));
  // TLS ends before us, and locally there is none: whether to insist on it is not ours to say.
  const contentSecurityPolicy = { directives: { upgradeInsecureRequests: null } };
  door.use(helmet({ contentSecurityPolicy, strictTransportSecurity: false }));
  door.use(identify);
  door.use('/docs/swagger-initializer.js', (_, response: Response) => response.type('js').send(startOfReference));
  serveFiles(dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/package.json'))), '/docs');
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The caller's own id is kept, so that both logs speak of the same request. */
function identify(request: Request, response: Response, next: () => void): void {
  const asked = request.headers['x-request-id'];
  response.setHeader('X-Request-Id', asked !== undefined && uuid.test(asked) ? asked : newId());
  next();
}

const startOfReference = `window.ui = SwaggerUIBundle({
  url: '/v1/openapi.json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
});
`;

/** The methods that an address knows, for whoever came with another one. */
export function methodsAt(routes: readonly Route[]): (path: string) => readonly string[] {
  const known = routes.map(({ path, method }) => ({
    pattern: new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}/?$`),
    methods: method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()],
  }));
  return (path) => known.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods);
}
