import { Controller, Get, Injectable, Module, Res } from '@nestjs/common';

/** The little of an HTTP answer that is used here: the service does not depend on which server Nest stands on. */
interface Answer {
  status(code: number): Answer;
  json(body: unknown): void;
}

type Check = () => readonly string[];

/** Who can say what keeps the service from working. Parts add themselves; nobody has to know them all. */
@Injectable()
export class Health {
  private readonly checks = new Map<string, Check>();
  private stage: 'starting' | 'serving' | 'draining' = 'starting';

  /** `check` returns what is wrong just now, in words for a person who was woken; empty: all is well. */
  add(name: string, check: Check): void {
    this.checks.set(name, check);
  }

  serving(): void {
    this.stage = 'serving';
  }

  draining(): void {
    this.stage = 'draining';
  }

  report(): { ready: boolean; stage: string; troubles: Record<string, readonly string[]> } {
    const troubles = Object.fromEntries(
      [...this.checks].map(([name, check]) => [name, check()] as const).filter(([, found]) => found.length > 0),
    );
    return { ready: this.stage === 'serving' && Object.keys(troubles).length === 0, stage: this.stage, troubles };
  }
}

@Controller()
class HealthController {
  constructor(private readonly health: Health) {}

  /** 200 as long as the process answers. What restarts cannot mend is no reason to restart. */
  @Get('livez')
  live(): { alive: true } {
    return { alive: true };
  }

  /** 200, or 503 with the reasons. */
  @Get('readyz')
  ready(@Res() answer: Answer): void {
    const report = this.health.report();
    answer.status(report.ready ? 200 : 503).json(report);
  }
}

@Module({ controllers: [HealthController], providers: [Health], exports: [Health] })
export class HealthModule {}
