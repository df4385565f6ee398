import { Injectable } from '@nestjs/common';
import { Obstacle } from '#footprints/index.js';
import { about, contextOf, flushSpans, inSpan } from '#observability/index.js';
import type { Lease } from '#persistence/index.js';
import { customerOf, type Footprint, isFilled, isToBeFilled } from '../domain/footprint.js';
import { type Goal, nextAction, type Observed, type Step } from '../domain/next-action.js';
import { Cluster, Site, TenantShards } from './ports.js';
import { ProvisioningMetrics } from './provisioning-metrics.js';

/** What is done to a footprint on cluster and shard, whatever it is made for. */
@Injectable()
export class FootprintSteps {
  constructor(
    private readonly cluster: Cluster,
    private readonly shards: TenantShards,
    private readonly site: Site,
    private readonly metrics: ProvisioningMetrics,
  ) {}

  /** Looks at all of it; asks its site only when everything else stands. */
  async look(footprint: Footprint, goal: Goal, signal: AbortSignal): Promise<Observed> {
    const [onCluster, onShard] = await Promise.all([this.cluster.observe(footprint), this.shards.observe(footprint)]);
    const seen = { ...onCluster, ...onShard, site: 'unasked' } as const;
    if (goal !== 'instance' || nextAction(seen, goal)) return seen;
    return { ...seen, site: await this.site.ask(footprint, signal) };
  }

  /** The identity that its Odoo goes by. */
  async uuidOf(footprint: Footprint): Promise<string> {
    if (!isFilled(footprint)) return await this.shards.uuidOf(footprint);
    return await this.shards.uuidOfFilled(footprint, await this.cluster.passwordOf(footprint));
  }

  /**
   * In a span beside the run's, and told before the step is noted: whatever dies, a step that the timeline knows is in the
   * trace. @returns how long it took, in ms.
   */
  async act(lease: Lease, footprint: Footprint, step: Exclude<Step, 'ready'>): Promise<number> {
    const begun = performance.now();
    const { instanceId, correlationId, traceparent } = footprint;
    const known = {
      instanceId: instanceId ?? undefined,
      customerId: customerOf(footprint),
      operationId: correlationId,
    };
    const attributes = { 'mesh.step': step, 'mesh.attempt': lease.attempt };
    const parent = about(known, contextOf(traceparent));
    const inItsSpan = () => inSpan(`step ${step}`, { attributes, parent }, () => this.take(lease, footprint, step));
    await this.metrics.measured(step, inItsSpan);
    await flushSpans();
    return Math.round(performance.now() - begun);
  }

  private async take(lease: Lease, footprint: Footprint, step: Exclude<Step, 'ready'>): Promise<void> {
    await lease.check();
    const { fence } = lease;
    // Made again, it would be an instance without its data that looks like a good one.
    if (isFilled(footprint) && (step === 'volume' || step === 'database'))
      throw new Obstacle('DATA_LOST', `its ${step} is gone, which held what a backup has`);
    switch (step) {
      case 'secret':
        return await this.cluster.createSecret(footprint, fence);
      case 'volume':
        return await this.cluster.applyVolume(footprint, fence);
      case 'role':
        return await this.shards.ensureRole(footprint, await this.cluster.passwordOf(footprint), fence);
      case 'database':
        if (isToBeFilled(footprint)) return await this.shards.makeEmpty(footprint, fence);
        return await this.shards.copyTemplate(footprint, fence);
      case 'tenant':
        if (isFilled(footprint))
          return await this.shards.giveAddress(footprint, await this.cluster.passwordOf(footprint), fence);
        return await this.shards.personalise(footprint, fence);
      case 'workload':
        return await this.cluster.applyWorkload(footprint, fence);
    }
  }
}
