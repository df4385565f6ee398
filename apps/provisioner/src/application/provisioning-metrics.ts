import { Injectable } from '@nestjs/common';
import { metrics } from '@opentelemetry/api';
import type { Condition } from '../domain/footprint.js';
import { type Step, steps } from '../domain/next-action.js';

type Fault = Condition['fault'];

/** From a step of milliseconds to a provisioning that took most of an hour. */
const buckets = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 1_800, 3_600];

/** How provisioning goes, by step and by outcome; never by instance. */
@Injectable()
export class ProvisioningMetrics {
  private readonly meter = metrics.getMeter('mesh.provisioning');
  private readonly steps = this.meter.createHistogram('mesh.provisioning.step.seconds', {
    description: 'How long a step took that we did ourselves, each try of it.',
    advice: { explicitBucketBoundaries: buckets },
  });
  private readonly stepEnds = this.meter.createCounter('mesh.provisioning.steps', {
    description: 'Tries of a step, by how they ended.',
  });
  private readonly durations = this.meter.createHistogram('mesh.provisioning.duration.seconds', {
    description: 'From when an instance was taken up for provisioning to Ready, or to when it was given up.',
    advice: { explicitBucketBoundaries: buckets },
  });
  private readonly outcomes = this.meter.createCounter('mesh.provisioning.outcomes', {
    description: 'Provisionings that came to an end, by whose fault it was when they failed.',
  });

  constructor() {
    for (const step of steps) {
      if (step === 'ready') continue;
      for (const outcome of ['done', 'failed']) this.stepEnds.add(0, { step, outcome });
    }
    this.outcomes.add(0, { outcome: 'ready', fault: 'none' });
    for (const fault of ['user', 'platform', 'provider'] satisfies Fault[])
      this.outcomes.add(0, { outcome: 'failed', fault });
  }

  /** Takes one step. Throws what it throws. */
  async measured(step: Step, work: () => Promise<void>): Promise<void> {
    const begun = performance.now();
    let outcome = 'failed';
    try {
      await work();
      outcome = 'done';
    } finally {
      this.stepEnds.add(1, { step, outcome });
      this.steps.record((performance.now() - begun) / 1_000, { step, outcome });
    }
  }

  ready(startedAt: Date): void {
    this.ended('ready', 'none', startedAt);
  }

  failed(fault: Fault, startedAt: Date): void {
    this.ended('failed', fault, startedAt);
  }

  private ended(outcome: 'ready' | 'failed', fault: Fault | 'none', startedAt: Date): void {
    this.outcomes.add(1, { outcome, fault });
    this.durations.record(Math.max(0, Date.now() - startedAt.getTime()) / 1_000, { outcome });
  }
}
