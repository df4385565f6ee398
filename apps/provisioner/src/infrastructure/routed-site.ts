import { setTimeout as pause } from 'node:timers/promises';
import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { SpanKind } from '@opentelemetry/api';
import { Agent } from 'undici';
import { inSpan } from '#observability/index.js';
import { ProvisionerSettings, Site } from '../application/ports.js';
import { type Footprint, orderOf } from '../domain/footprint.js';
import type { Silence } from '../domain/next-action.js';

const path = '/web/login';
const askForMs = 2_000;
const betweenMs = 50;

/** Through the router, as a browser would, whatever the name of the host resolves to here. */
@Injectable()
export class RoutedSite extends Site implements OnApplicationShutdown {
  private readonly router: { readonly url: URL; readonly agent: Agent } | undefined;

  constructor(settings: ProvisionerSettings) {
    super();
    if (!settings.routerUrl) return;
    // A page that is made while the registry loads is waited for, not asked for again.
    const limits = { headersTimeout: 10_000, bodyTimeout: 10_000, connect: { timeout: 5_000 } };
    this.router = { url: new URL(settings.routerUrl), agent: new Agent(limits) };
  }

  async ask(footprint: Footprint, signal: AbortSignal): Promise<'simulated' | 'answers' | Silence> {
    const { router } = this;
    if (!router) return 'simulated';
    const { host } = orderOf(footprint);
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

  async onApplicationShutdown(): Promise<void> {
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
        headers: { host, 'user-agent': 'odoo-mesh-provisioner' },
        signal,
      });
      await body.dump();
      return statusCode === 200 ? undefined : { instead: `${path} of ${host} is answered with ${statusCode}` };
    } catch (error) {
      return { instead: `${path} of ${host} is not answered: ${(error as Error).message}` };
    }
  }
}
