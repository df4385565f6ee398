import { Injectable, type OnApplicationShutdown } from '@nestjs/common';
import { RoutedSite as Routed } from '#footprints/index.js';
import { ProvisionerSettings, Site } from '../application/ports.js';
import { type Footprint, orderOf } from '../domain/footprint.js';

@Injectable()
export class RoutedSite extends Site implements OnApplicationShutdown {
  private readonly routed: Routed;

  constructor({ routerUrl, routerAuthorities }: ProvisionerSettings) {
    super();
    this.routed = new Routed(routerUrl, 'odoo-mesh-provisioner', routerAuthorities);
  }

  async ask(footprint: Footprint, signal: AbortSignal) {
    return await this.routed.ask(orderOf(footprint).host, signal);
  }

  async onApplicationShutdown(): Promise<void> {
    await this.routed.close();
  }
}
