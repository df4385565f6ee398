import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { rootCertificates } from 'node:tls';
import { SpanKind } from '@opentelemetry/api';
import { Agent } from 'undici';
import { inSpan } from '#observability/index.js';

/** What came in place of the log-in page, in words. */
export interface Silence {
  readonly instead: string;
}

/** `simulated`: there is no router that could answer. */
export type SiteAnswer = 'simulated' | 'answers' | Silence;

const path = '/web/login';
const askForMs = 2_000;
const betweenMs = 50;

/** An Odoo as its customer finds it: through the router, whatever the name of the host resolves to here. */
export class RoutedSite {
  private readonly router: { readonly url: URL; readonly agent: Agent } | undefined;

  /**
   * @param routerUrl `http[s]://host:port` of the router of all hosts; undefined: there is none. By TLS it has to show a
   * certificate for the host that is asked for, whatever its own name is.
   * @param authorities a file in PEM: whose certificates are believed, beside those of the authorities that Node knows.
   */
  constructor(
    routerUrl: string | undefined,
    private readonly userAgent: string,
    authorities?: string,
  ) {
    if (routerUrl === undefined) return;
    // A page that is made while the registry loads is waited for, not asked for again.
    const ca = authorities === undefined ? undefined : [...rootCertificates, readFileSync(authorities, 'utf8')];
    const limits = { headersTimeout: 10_000, bodyTimeout: 10_000 };
    const agent = new Agent({ ...limits, connect: { timeout: 5_000, ...(ca && { ca }) } });
    this.router = { url: new URL(routerUrl), agent };
  }

  /** Asks for the log-in page at the host, again and again for at most two seconds. */
  async ask(host: string, signal: AbortSignal): Promise<SiteAnswer> {
    const { router } = this;
    if (!router) return 'simulated';
    const attributes = { 'server.address': host, 'url.path': path };
    return await inSpan(`GET ${path}`, { kind: SpanKind.CLIENT, attributes }, async () => {
      const until = Date.now() + askForMs;
      for (;;) {
        const silence = await this.look(router, host, signal);
        if (!silence) return 'answers';
        if (Date.now() > until || signal.aborted) return silence;
        await pause(betweenMs);
      }
    });
  }

  async close(): Promise<void> {
    await this.router?.agent.close();
  }

  /** Undefined: the page came. A redirect is none: without its database Odoo sends everybody to its selector. */
  private async look(
    { url, agent }: { readonly url: URL; readonly agent: Agent },
    host: string,
    signal: AbortSignal,
  ): Promise<Silence | undefined> {
    try {
      const { statusCode, body } = await agent.request({
        origin: url.origin,
        path,
        method: 'GET',
        headers: { host, 'user-agent': this.userAgent },
        signal,
      });
      await body.dump();
      return statusCode === 200 ? undefined : { instead: `${path} of ${host} is answered with ${statusCode}` };
    } catch (error) {
      return { instead: `${path} of ${host} is not answered: ${(error as Error).message}` };
    }
  }
}
