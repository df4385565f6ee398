import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { RoutedSite as Routed } from '#footprints/index.js';
import { LifecycleSettings, Site } from '../application/ports.js';

@Injectable()
export class RoutedSite extends Site implements OnApplicationShutdown {
  private readonly routed: Routed;

  constructor({ routerUrl, routerAuthorities }: LifecycleSettings) {
    super();
    this.routed = new Routed(routerUrl, 'odoo-mesh-lifecycle', routerAuthorities);
  }

  async ask(host: string, signal: AbortSignal) {
    return await this.routed.ask(host, signal);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.routed.close();
  }
}
