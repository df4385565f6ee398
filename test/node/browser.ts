import { Agent, type Dispatcher } from 'undici';
import { stackEnvironment } from '../e2e/config.js';

/** Who knows nothing of the mesh but a host name: asks the router, as a customer's browser does, and keeps its session. */
export class Browser {
  private static readonly agent = new Agent({ connections: 64, headersTimeout: 60_000 });
  private cookie = '';

  constructor(readonly host: string) {}

  static urlOf(host: string): string {
    return `http://${host}:${new URL(Browser.router).port}`;
  }

  /** Redirects are not followed. */
  async get(path: string, headers: Record<string, string> = {}, method: Dispatcher.HttpMethod = 'GET') {
    return await this.ask(path, { method, headers });
  }

  async status(path: string): Promise<number> {
    return (await this.get(path)).status;
  }

  /** What an Odoo says about the session; undefined: refused. */
  async logIn(database: string, login: string, password: string): Promise<Record<string, unknown> | undefined> {
    const { headers, body } = await this.call('/web/session/authenticate', { db: database, login, password });
    const cookie = headers['set-cookie'];
    if (cookie) this.cookie = String(cookie).split(';')[0]!;
    return body.result;
  }

  async isLoggedIn(): Promise<boolean> {
    return (await this.call('/web/session/get_session_info', {})).body.result?.uid > 0;
  }

  /** A call as the web client makes it. */
  async call(path: string, params: object) {
    const { body, ...answer } = await this.ask(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', params }),
    });
    return { ...answer, body: JSON.parse(body) };
  }

  private async ask(
    path: string,
    init: Pick<Dispatcher.RequestOptions, 'method' | 'body'> & { headers: Record<string, string> },
  ) {
    const { statusCode, headers, body } = await Browser.agent.request({
      origin: Browser.router,
      path,
      ...init,
      headers: { host: this.host, ...(this.cookie && { cookie: this.cookie }), ...init.headers },
    });
    return { status: statusCode, headers, body: await body.text() };
  }

  private static get router(): string {
    const { MESH_ROUTER_URL } = stackEnvironment();
    if (!MESH_ROUTER_URL) throw new Error('only a stack with a real node has a router');
    return MESH_ROUTER_URL;
  }
}
