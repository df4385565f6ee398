import { Injectable } from '@nestjs/common';
import { type InputOf, InstancePlaced, InstancePlacementDeferred, InstanceRefused, newId } from '#contracts/index.js';
import type { PublishContext } from '#messaging/index.js';
import { findPlan } from '#odoo/index.js';
import { JobQueue } from '#persistence/index.js';
import { nextCell } from '../domain/cell-name.js';
import type { Placement } from '../domain/placement.js';
import type { Spare } from '../domain/spares.js';
import { type Template, templatesFor } from '../domain/template-choice.js';
import { Cells, DatabaseShards, HostNames, Placements, PlannerSettings, Spares, Templates } from './ports.js';
import { Retirement } from './retirement.js';

/** Why there is no place just now, and when it is worth looking again. */
export interface Lack {
  readonly reason: string;
  readonly message: string;
  readonly retryAt: string;
  /** Nobody else would find a place either, whatever they want. */
  readonly forAll: boolean;
}

export interface Refusal {
  readonly code: string;
  readonly message: string;
}

/** How soon those who wait are looked at again, also when nothing happens that would help them. */
export const lookAgainMs = 5_000;

/** How old the figures of a cell may be that others hear of. */
export const reportWithinMs = 1_000;

/** Finds a place for a request that was accepted. All of it in the caller's transaction. */
@Injectable()
export class PlacingService {
  constructor(
    private readonly placements: Placements,
    private readonly hosts: HostNames,
    private readonly cells: Cells,
    private readonly shards: DatabaseShards,
    private readonly templates: Templates,
    private readonly spares: Spares,
    private readonly retirement: Retirement,
    private readonly jobs: JobQueue,
    private readonly settings: PlannerSettings,
  ) {}

  /**
   * Answers the request, or tells why it waits, once per reason. With `ahead`, what those lack who wait longer, it waits
   * too: a place that has become free meanwhile is theirs. @returns what it lacks; undefined: it has its answer.
   */
  async placeOrDefer(ctx: PublishContext, waiting: Placement, ahead?: Lack): Promise<Lack | undefined> {
    const lack = ahead ?? (await this.place(ctx, waiting));
    if (lack && lack.reason !== waiting.waitsFor) {
      const { reason, message, retryAt } = lack;
      await this.placements.save(ctx, { ...waiting, waitsFor: reason });
      await ctx.publish(InstancePlacementDeferred, { instanceId: waiting.instanceId, reason, message, retryAt });
    }
    return lack;
  }

  /** The order of the locks is the same for everybody: cell, then shard. */
  private async place(ctx: PublishContext, waiting: Placement): Promise<Lack | undefined> {
    const { specification, instanceId } = waiting;
    // Asked first: the last template may come to be known between the two questions.
    const complete = await this.templates.complete(ctx);
    const choice = templatesFor(specification, await this.templates.all(ctx));
    if ('code' in choice) {
      if (complete) return await this.refuse(ctx, waiting, choice);
      return lack('NoTemplate', 'not all templates were heard of yet, and this one is not among those that were', 15);
    }

    const plan = findPlan(specification.plan)!;
    const spare = await this.spares.claim(ctx, instanceId, { plan, templates: choice.templates });
    if (spare) return await this.placeOn(ctx, waiting, spare, choice.templates);

    const cell = await this.cells.reservePlace(ctx);
    if (!cell) return await this.makePlaces(ctx, waiting.traceparent ?? undefined);
    const serving = [...new Set(choice.templates.map((one) => one.databaseShard))];
    const shard = await this.shards.reserveDatabase(ctx, serving);
    if (!shard) {
      await this.cells.givePlaceBack(ctx, cell.id);
      if (await this.retirement.makeRoom(ctx)) return lack('SpareLeaving', 'a spare gives its database up', 5);
      return lack('DatabaseShardsFull', 'no database shard with this template has room', 60);
    }

    await this.answer(ctx, waiting, {
      footprintId: newId(),
      claim: 'new',
      cell: cell.id,
      namespace: cell.namespace,
      template: choice.templates.find((one) => one.databaseShard === shard)!,
      reasons: [`cell ${cell.id} has the most free places`, `shard ${shard} has the most free databases`],
    });
    await this.jobs.ask(ctx, { kind: 'cell-report', key: cell.id, inMs: reportWithinMs });
    return undefined;
  }

  /** Its place and its database were reserved when the spare was made. */
  private async placeOn(
    ctx: PublishContext,
    waiting: Placement,
    { footprintId, cell: id, databaseShard, templateDatabase }: Spare,
    templates: readonly Template[],
  ): Promise<undefined> {
    const cell = (await this.cells.all(ctx)).find((one) => one.id === id)!;
    await this.answer(ctx, waiting, {
      footprintId,
      claim: 'spare',
      cell: id,
      namespace: cell.namespace,
      template: templates.find((one) => one.databaseShard === databaseShard && one.database === templateDatabase)!,
      reasons: [`a spare ran already in cell ${id} on shard ${databaseShard}`],
    });
    await this.jobs.ask(ctx, { kind: 'spares', key: 'pool', priority: 'bulk' });
  }

  private async answer(
    ctx: PublishContext,
    waiting: Placement,
    {
      template: { databaseShard, image, version, bundle, language, database },
      ...place
    }: Pick<InputOf<typeof InstancePlaced>, 'footprintId' | 'claim' | 'cell' | 'namespace' | 'reasons'> & {
      readonly template: Template;
    },
  ): Promise<void> {
    const { instanceId, requestId, specification, host } = waiting;
    const { footprintId, cell } = place;
    const accepted = findPlan(specification.plan)!;
    const plan = { name: accepted.name, version: accepted.version };
    const placed = { state: 'placed', waitsFor: null, plan, footprintId, cell, databaseShard } as const;
    await this.placements.save(ctx, { ...waiting, ...placed });
    await ctx.publish(InstancePlaced, {
      instanceId,
      requestId,
      specification,
      ...place,
      databaseShard,
      template: { image, version, bundle, language, database },
      host,
      plan,
    });
  }

  /** One cell is opened at a time, or a spare goes; whoever waits is placed then. @returns what is lacking until then. */
  async makePlaces(ctx: PublishContext, traceparent?: string): Promise<Lack> {
    const cells = await this.cells.all(ctx);
    const opening = cells.find((cell) => cell.state === 'opening');
    if (!opening && cells.length >= this.settings.maxCells) {
      if (await this.retirement.makeRoom(ctx)) return lack('SpareLeaving', 'a spare gives its place up', 5, true);
      return lack(
        'AllCellsFull',
        `all ${cells.length} cells are full; raise MESH_MAX_CELLS or end instances`,
        300,
        true,
      );
    }
    const next = opening ?? nextCell(this.settings.meshName, cells);
    await this.cells.add(ctx, { ...next, state: 'opening', places: this.settings.placesPerCell, reserved: 0 });
    await this.jobs.ask(ctx, {
      kind: 'cell',
      key: next.id,
      priority: 'interactive',
      traceparent,
    });
    return lack('CellOpening', `cell ${next.id} is being opened`, 5, true);
  }

  /** A request that had to wait for templates turns out to wish for what does not exist. */
  private async refuse(ctx: PublishContext, waiting: Placement, refusal: Refusal): Promise<undefined> {
    const { instanceId, requestId, host } = waiting;
    await this.placements.remove(ctx, instanceId);
    await this.hosts.release(ctx, host, instanceId);
    await ctx.publish(InstanceRefused, { requestId, instanceId, fault: 'user', ...refusal });
  }
}

function lack(reason: string, message: string, inSeconds: number, forAll = false): Lack {
  return { reason, message, retryAt: new Date(Date.now() + inSeconds * 1000).toISOString(), forAll };
}
