import { Injectable } from '@nestjs/common';
import { Obstacle } from '#footprints/index.js';
import { Conflict } from '#kubernetes/index.js';
import { about, contextOf, flushSpans, inSpan } from '#observability/index.js';
import type { Lease } from '#persistence/index.js';
import type { Failure } from '../domain/failure.js';
import { type Instance, placeOf, planOf } from '../domain/instance.js';
import { afterStep, nextStep, nextStepOfRoute, type Seen, type Step } from '../domain/next-step.js';
import type { Operation, Progress } from '../domain/operation.js';
import { judge, lastOf } from '../domain/update-log.js';
import { Cluster, Site, TenantShards } from './ports.js';

export type StageOutcome =
  | { readonly kind: 'done'; readonly progress?: Progress }
  | { readonly kind: 'failed'; readonly failure: Failure; readonly progress?: Progress }
  | {
      readonly kind: 'waits';
      readonly reason: string;
      readonly message: string;
      readonly soon?: boolean;
      /** Something was changed before it had to wait. */
      readonly acted: boolean;
    };

const done: StageOutcome = { kind: 'done' };

/** What is done to the live footprint, as far as it can be done without waiting. */
@Injectable()
export class FootprintStages {
  constructor(
    private readonly cluster: Cluster,
    private readonly shards: TenantShards,
    private readonly site: Site,
  ) {}

  async take(
    lease: Lease,
    instance: Instance,
    operation: Operation,
    stage: 'up' | 'down' | 'switch' | 'fit' | 'fence' | 'copy' | 'update' | 'tidy' | 'address' | 'route',
  ): Promise<StageOutcome> {
    const there = whereTried(instance, operation);
    this.cluster.watch(placeOf(there).namespace);
    switch (stage) {
      case 'fit':
        return await this.fit(lease, instance, operation);
      case 'fence':
        return await this.fence(lease, instance, operation);
      case 'copy':
        return await this.copy(lease, there, operation);
      case 'update':
        return await this.update(lease, there, operation);
      case 'tidy':
        return await this.tidy(lease, there, operation);
      case 'switch':
        return await this.switch(lease, instance, operation);
      case 'address':
        return await this.address(lease, instance, operation);
      default:
        return await this.bring(lease, instance, operation, stage);
    }
  }

  private async bring(
    lease: Lease,
    instance: Instance,
    operation: Operation,
    stage: 'up' | 'down' | 'route',
  ): Promise<StageOutcome> {
    const { epoch } = instance;
    const { from, failure } = operation.progress;
    const to = stage === 'up' || (stage === 'route' && from === 'running') ? 'instance' : 'edge';
    // What is called by its old name again is as well as it was.
    const asked = to === 'instance' && !(stage === 'route' && failure);
    const next = (seen: Seen) => (stage === 'route' ? nextStepOfRoute(seen, to, epoch) : nextStep(seen, stage, epoch));
    let acted = false;
    // After a step of ours we know what it has changed; to look at everything again costs the cluster more than the step.
    let known: Seen | undefined;
    // What a workload's change has set going, others do: that it has come to its end has to be seen.
    let assumed = false;
    while (!lease.signal.aborted) {
      const toAsk = asked && !assumed;
      const seen: Seen = await this.look(instance, known, toAsk, next, lease.signal);
      const step = next(seen);
      if (!step && assumed) {
        known = undefined;
        assumed = false;
        continue;
      }
      if (!step && stage === 'up') await this.cluster.dropOldSecrets(instance, lease.fence);
      if (!step) return stage === 'up' ? { kind: 'done', progress: { verified: verifiedBy(seen.site) } } : done;
      if (step.kind === 'overtaken')
        throw new Obstacle('EPOCH_AHEAD', 'somebody has written its objects with a later word than ours');
      // What is waited for, a watch tells; also what came while we were at work.
      if (step.kind === 'wait') return { ...step, kind: 'waits', acted };
      // Where as many pods are wanted as before, nobody may tell that they are.
      known = step.what === 'workload' && hasAsMany(seen, to) ? undefined : afterStep(seen, step.what, to, epoch);
      assumed = known !== undefined && (assumed || step.what === 'workload');
      await this.act(lease, operation, `${stage}: ${step.what}`, async () => {
        if (step.what === 'secret') await this.cluster.ensureSecret(instance, 'as before', lease.fence);
        else if (step.what === 'route') await this.cluster.applyRoute(instance, to, seen, lease.fence);
        else await this.cluster.applyWorkload(instance, stage === 'up' ? 1 : 0, seen, lease.fence);
      }).catch((error) => {
        // Somebody else has written it meanwhile, a controller for instance: it is looked at again.
        if (!(error instanceof Conflict)) throw error;
        known = undefined;
        assumed = false;
      });
      acted = true;
    }
    return { kind: 'waits', reason: 'Draining', message: 'this process is going', soon: true, acted };
  }

  /**
   * The site is asked only when all else stands: it costs a request through the router. At its host alone: that no
   * certificate is there for a customer's domain, or one has run out, keeps no instance from coming up.
   */
  private async look(
    instance: Instance,
    known: Seen | undefined,
    toAsk: boolean,
    next: (seen: Seen) => Step | undefined,
    signal: AbortSignal,
  ): Promise<Seen> {
    if (known && (!toAsk || next(known))) return known;
    return await inSpan('look', {}, async () => {
      const seen: Seen = known ?? { ...(await this.cluster.observe(instance)), site: 'unasked' };
      if (!toAsk || next(seen)) return seen;
      return { ...seen, site: await this.site.ask(instance.live.host, signal) };
    });
  }

  /** What the plan says, while it runs still: the pod takes it up when it comes up next. */
  private async fit(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    const plan = planOf(instance.live.plan);
    await this.act(lease, operation, 'fit: connections', () =>
      this.shards.limitConnections(instance, plan.databaseConnections, lease.fence),
    );
    await this.act(lease, operation, 'fit: secret', () =>
      this.cluster.ensureSecret(instance, 'as before', lease.fence),
    );
    await this.act(lease, operation, 'fit: volume', () => this.cluster.growVolume(instance, lease.fence));
    return done;
  }

  /** Whoever lives on behind a lost node knows the old password only, and is thrown out. */
  private async fence(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    await this.act(lease, operation, 'fence: secret', () => this.cluster.ensureSecret(instance, 'new', lease.fence));
    await this.act(lease, operation, 'fence: database', async () =>
      this.shards.fence(instance, await this.cluster.passwordOf(instance), lease.fence),
    );
    await this.cluster.dropOldSecrets(instance, lease.fence);
    return done;
  }

  /** The original is not touched from here on: whatever is changed is changed in the copy. */
  private async copy(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    const from = operation.progress.copiedFrom!;
    await this.act(lease, operation, 'copy: database', () => this.shards.copyDatabase(instance, from, lease.fence));
    await this.act(lease, operation, 'copy: secret', () =>
      this.cluster.ensureSecret(instance, 'as before', lease.fence),
    );
    return done;
  }

  /** By its exit code and by its log: an update that ends with 0 may have left half of the customer's pages broken. */
  private async update(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    const seen = await this.cluster.observeUpdate(instance);
    if (seen === 'absent') {
      const from = operation.progress.copiedFrom!;
      await this.act(lease, operation, 'update: job', () =>
        this.cluster.startUpdate(instance, from, operation.input.modules ?? [], lease.fence),
      );
    }
    if (seen === 'absent' || seen === 'runs')
      return { kind: 'waits', reason: 'UpdateRuns', message: 'Odoo is updating the copy', acted: seen === 'absent' };
    const log = await this.cluster.logOfUpdate(instance);
    if (log === undefined) return { kind: 'done', progress: { warnings: ['a simulated node ran nothing'] } };
    const { fault, warnings } = judge(log);
    const failed = (code: string, message: string): StageOutcome => ({
      kind: 'failed',
      failure: { code, fault: 'platform', message },
      progress: { log: lastOf(log), warnings },
    });
    if (seen === 'failed')
      return failed('UPDATE_FAILED', fault ?? 'the update or the pages after it failed: see its log');
    if (fault) return failed('UPDATE_NOT_GOOD', fault.slice(0, 1_000));
    return { kind: 'done', progress: { warnings } };
  }

  private async tidy(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    let gone = false;
    await this.act(lease, operation, 'tidy: jobs', async () => {
      gone = await this.cluster.removeUpdates(instance, lease.fence);
    });
    if (!gone)
      return {
        kind: 'waits',
        reason: 'UpdateStillThere',
        message: 'the pod of the update has not ended',
        soon: true,
        acted: true,
      };
    const { failure, discarded } = operation.progress;
    if (failure && discarded)
      await this.act(lease, operation, 'tidy: database', () =>
        this.shards.dropDatabase(instance, discarded, lease.fence),
      );
    return done;
  }

  /**
   * Exactly one footprint answers at the host, whenever somebody looks: the one before leads to the edge, and so does the
   * other one until it is up; when both do, the route of the one before goes.
   */
  private async switch(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    const { failure, before, tried } = operation.progress;
    const act = (what: string, work: () => Promise<void>) => this.act(lease, operation, `switch: ${what}`, work);
    if (!failure) {
      const { databaseConnections } = planOf(instance.live.plan);
      await act('secret', () => this.cluster.ensureSecret(instance, 'as before', lease.fence));
      await act('connections', () => this.shards.limitConnections(instance, databaseConnections, lease.fence));
      await act('volume', () => this.cluster.growVolume(instance, lease.fence));
      await act('objects', () => this.cluster.takeOver(instance, lease.fence));
      // As its own role: what a customer has left in there runs with whoever writes.
      await act('address', async () =>
        this.shards.setBaseUrl(instance, lease.fence, await this.cluster.passwordOf(instance)),
      );
    }
    const left = { ...instance, live: failure ? tried! : before! };
    try {
      await this.leadTo(lease, operation, instance, left);
    } catch (error) {
      if (!(error instanceof Conflict)) throw error;
      const message = 'somebody else has written its objects meanwhile';
      return { kind: 'waits', reason: 'Conflict', message, soon: true, acted: true };
    }
    // Whoever makes it anew finds no Secret of this try; whose former footprint it is has its older ones.
    if (failure && tried!.secretVersion !== operation.progress.target!.secretVersion)
      await act('remove secret', () => this.cluster.removeSecret(left, lease.fence));
    return done;
  }

  /** Nothing of `left` runs any more or is led to; the pod that it may have had writes what nobody will read. */
  private async leadTo(lease: Lease, operation: Operation, instance: Instance, left: Instance): Promise<void> {
    const act = (what: string, work: () => Promise<void>) => this.act(lease, operation, `switch: ${what}`, work);
    const behind: Seen = { ...(await this.cluster.observe(left)), site: 'unasked' };
    const ahead: Seen = { ...(await this.cluster.observe(instance)), site: 'unasked' };
    if (nextStepOfRoute(behind, 'edge', instance.epoch)?.kind === 'overtaken')
      throw new Obstacle('EPOCH_AHEAD', 'somebody has written its objects with a later word than ours');
    const runs = typeof behind.workload === 'object' && behind.workload.replicas !== 0;
    if (runs) await act('end workload', () => this.cluster.applyWorkload(left, 0, behind, lease.fence));
    const leadsAway = typeof behind.route === 'object' && behind.route.to === 'edge';
    // While both lead somewhere they lead to the same.
    if (behind.route !== 'absent' && !leadsAway)
      await act('route to edge', () => this.cluster.applyRoute(left, 'edge', behind, lease.fence));
    if (nextStepOfRoute(ahead, 'edge', instance.epoch))
      await act('route', () => this.cluster.applyRoute(instance, 'edge', ahead, lease.fence));
    const { route } = await this.cluster.observe(left);
    if (route !== 'absent') await act('remove route', () => this.cluster.removeRoute(left, route, lease.fence));
  }

  private async address(lease: Lease, instance: Instance, operation: Operation): Promise<StageOutcome> {
    await this.act(lease, operation, 'address: database', () => this.shards.setBaseUrl(instance, lease.fence));
    return done;
  }

  /** In a span of the operation that it is done for, and told before anybody is told of the operation's end. */
  private async act(
    lease: Lease,
    { instanceId, correlationId, traceparent }: Operation,
    name: string,
    work: () => Promise<void>,
  ): Promise<void> {
    const parent = about({ instanceId, operationId: correlationId }, contextOf(traceparent));
    await inSpan(name, { attributes: { 'mesh.attempt': lease.attempt }, parent }, async () => {
      await lease.check();
      await work();
    });
    await flushSpans();
  }
}

/** An upgrade is done in the instance's own footprint, and rehearsed in a clone's. */
function whereTried(instance: Instance, { progress }: Operation): Instance {
  return progress.rehearsal ? { ...instance, live: progress.rehearsal } : instance;
}

function verifiedBy(site: Seen['site']): 'http' | 'pod-condition' {
  return site === 'answers' ? 'http' : 'pod-condition';
}

function hasAsMany({ workload }: Seen, to: 'instance' | 'edge'): boolean {
  return typeof workload === 'object' && workload.replicas === (to === 'instance' ? 1 : 0);
}
