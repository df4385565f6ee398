import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { services } from '#contracts/index.js';
import { Log } from '#observability/index.js';
import { Figures } from '#persistence/index.js';
import { InstanceViews, ParkedMessages } from '../application/ports.js';
import { viewStates } from '../domain/instance-view.js';

/** How many instances are in which state, and how many parked messages wait for somebody to decide. */
@Injectable()
export class InstanceFigures implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly figures: readonly { start(): void; stop(): Promise<void> }[];

  constructor(views: InstanceViews, parked: ParkedMessages, log: Log) {
    const onTrouble = (what: string, error: unknown) => log.warn(what, { error });
    const instances = new Figures('instances', () => views.countByState(), onTrouble);
    instances.gauge('mesh.instances', 'Instances by their state, as the facts so far tell it.', (seen) =>
      viewStates.map((state) => [seen.get(state) ?? 0, { state }]),
    );
    const messages = new Figures('parked messages', () => parked.countWaiting(), onTrouble);
    messages.gauge('mesh.parked.messages', 'Parked messages that nobody has put back or let go yet.', (seen) =>
      // `none`: no service binds their key.
      [...services, 'none'].map((service) => [seen.get(service) ?? 0, { service }]),
    );
    this.figures = [instances, messages];
  }

  onApplicationBootstrap(): void {
    for (const one of this.figures) one.start();
  }

  async onModuleDestroy(): Promise<void> {
    await Promise.all(this.figures.map((one) => one.stop()));
  }
}
