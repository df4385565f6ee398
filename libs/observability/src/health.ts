import type { IncomingMessage, ServerResponse } from 'node:http';
import { Controller, Get, Injectable, Module, Req, Res } from '@nestjs/common';
import { metrics } from '@opentelemetry/api';
import { writeMetrics } from './metrics.js';
import { textWithoutSecrets } from './without-secrets.js';

/** The little of an HTTP answer that is used here: the service does not depend on which server Nest stands on. */
interface Answer {
  status(code: number): Answer;
  json(body: unknown): void;
}

type Check = () => readonly string[];

interface Checked {
  readonly name: string;
  readonly state: 'ok' | 'failing';
  /** What is wrong, in words for a person who was woken. */
  readonly reasons: readonly string[];
  /** When this state was first seen by somebody who asked. */
  readonly since: string;
}

export interface HealthReport {
  readonly ready: boolean;
  readonly stage: 'starting' | 'serving' | 'draining';
  readonly checks: readonly Checked[];
  /** Why this process can never be ready again. */
  readonly restartNeeded?: string;
}

/** Who can say what keeps the service from working. Parts add themselves; nobody has to know them all. */
@Injectable()
export class Health {
  private readonly checks = new Map<string, Check>();
  private readonly seen = new Map<string, Checked>();
  private stage: HealthReport['stage'] = 'starting';
  private deadBecause: string | undefined;

  constructor() {
    metrics
      .getMeter('mesh.health')
      .createObservableGauge('mesh.ready', { description: '1: the service is ready, as /readyz says it.' })
      .addCallback((result) => result.observe(this.report().ready ? 1 : 0));
  }

  /** `check` returns what is wrong just now, empty when all is well. It must not wait: what it needs is looked at before. */
  add(name: string, check: Check): void {
    this.checks.set(name, check);
  }

  serving(): void {
    // A stop that was asked for during a long start stands.
    if (this.stage === 'starting') this.stage = 'serving';
  }

  draining(): void {
    this.stage = 'draining';
  }

  /** From now on `/livez` fails, for good. Only for what can never mend itself; a server that is away is not that. */
  restartNeeded(reason: string): void {
    this.deadBecause ??= reason;
  }

  report(): HealthReport {
    const checks = [...this.checks].map(([name, check]) => this.look(name, check));
    const well = checks.every((one) => one.state === 'ok') && this.deadBecause === undefined;
    return {
      ready: this.stage === 'serving' && well,
      stage: this.stage,
      checks,
      ...(this.deadBecause !== undefined && { restartNeeded: this.deadBecause }),
    };
  }

  private look(name: string, check: Check): Checked {
    const reasons = reasonsOf(check).map(textWithoutSecrets);
    const state = reasons.length > 0 ? 'failing' : 'ok';
    const before = this.seen.get(name);
    const since = before?.state === state ? before.since : new Date().toISOString();
    const now = { name, state, reasons, since } as const;
    this.seen.set(name, now);
    return now;
  }
}

/** A check that cannot look has found something. */
function reasonsOf(check: Check): readonly string[] {
  try {
    return check();
  } catch (error) {
    return [`could not look: ${error instanceof Error ? error.message : String(error)}`];
  }
}

@Controller()
class HealthController {
  constructor(private readonly health: Health) {}

  /** 200 as long as the process answers. What restarts cannot mend is no reason to restart. */
  @Get('livez')
  live(@Res() answer: Answer): void {
    const { restartNeeded } = this.health.report();
    answer.status(restartNeeded === undefined ? 200 : 503).json({ alive: restartNeeded === undefined, restartNeeded });
  }

  /** 200, or 503 with the reasons. */
  @Get('readyz')
  ready(@Res() answer: Answer): void {
    const report = this.health.report();
    answer.status(report.ready ? 200 : 503).json(report);
  }

  /** In the text format of Prometheus. */
  @Get('metrics')
  metrics(@Req() request: IncomingMessage, @Res() response: ServerResponse): void {
    writeMetrics(request, response);
  }
}

@Module({ controllers: [HealthController], providers: [Health], exports: [Health] })
export class HealthModule {}
