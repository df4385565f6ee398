import { Injectable, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { Log } from '#observability/index.js';
import { Figures } from '#persistence/index.js';
import { PlannerSettings, Room, type RoomFigures as Seen } from '../application/ports.js';

/** How much room there is, for whoever has to see to it that there is more. */
@Injectable()
export class RoomFigures implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly figures: Figures<Seen>;

  constructor(room: Room, { maxCells, placesPerCell }: PlannerSettings, log: Log) {
    this.figures = new Figures(
      'room',
      () => room.figures(),
      (what, error) => log.warn(what, { error }),
    );
    const { figures } = this;
    figures.gauge('mesh.cell.places', 'Places for instances in a cell, by whether it takes any.', ({ cells }) =>
      cells.map(({ id, state, places }) => [places, { cell: id, state }]),
    );
    figures.gauge('mesh.cell.places.reserved', 'Of these, those that are taken.', ({ cells }) =>
      cells.map(({ id, state, reserved }) => [reserved, { cell: id, state }]),
    );
    figures.gauge('mesh.places.free', 'Places that are free, in cells that may still be opened too.', ({ cells }) => {
      const usable = cells.filter(({ state }) => state !== 'closed');
      const free = usable.reduce((sum, { places, reserved }) => sum + places - reserved, 0);
      return free + Math.max(0, maxCells - cells.length) * placesPerCell;
    });
    figures.gauge('mesh.places', 'All places, in cells that may still be opened too.', ({ cells }) => {
      const usable = cells.filter(({ state }) => state !== 'closed');
      const made = usable.reduce((sum, { places }) => sum + places, 0);
      return made + Math.max(0, maxCells - cells.length) * placesPerCell;
    });
    figures.gauge('mesh.shard.databases', 'Tenant databases that a shard may hold.', ({ shards }) =>
      shards.map(({ name, databases }) => [databases, { shard: name }]),
    );
    figures.gauge('mesh.shard.databases.reserved', 'Of these, those that are taken.', ({ shards }) =>
      shards.map(({ name, reserved }) => [reserved, { shard: name }]),
    );
    figures.gauge('mesh.spares', 'Running spares that nobody has claimed, by how far they are.', ({ spares }) =>
      (['asked', 'ready', 'retiring'] as const).map((state) => [
        spares.find((one) => one.state === state)?.count ?? 0,
        { state },
      ]),
    );
    figures.gauge('mesh.placements.waiting', 'Accepted requests that wait for a place.', ({ waiting }) => waiting);
    figures.gauge(
      'mesh.placements.oldest.seconds',
      'How long the oldest of these has waited.',
      ({ oldestWaiting }) => oldestWaiting,
    );
  }

  onApplicationBootstrap(): void {
    this.figures.start();
  }

  async onModuleDestroy(): Promise<void> {
    await this.figures.stop();
  }
}
