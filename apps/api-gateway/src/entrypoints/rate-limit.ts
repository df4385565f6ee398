import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';

const windowSeconds = 60;

export interface Share {
  readonly allowed: boolean;
  /** For the answer, by the IETF's draft of RateLimit header fields. */
  readonly headers: Readonly<Record<string, string>>;
}

/** So many calls a minute for each name, counted by this process alone. */
export class RateLimit {
  private readonly limiter: RateLimiterMemory;

  constructor(private readonly callsPerMinute: number) {
    this.limiter = new RateLimiterMemory({ points: callsPerMinute, duration: windowSeconds });
  }

  async take(name: string): Promise<Share> {
    const left = await this.limiter.consume(name).catch((refused: unknown) => {
      if (refused instanceof RateLimiterRes) return refused;
      throw refused;
    });
    const seconds = Math.ceil(left.msBeforeNext / 1_000);
    const allowed = left.consumedPoints <= this.callsPerMinute;
    return {
      allowed,
      headers: {
        'RateLimit-Policy': `"calls";q=${this.callsPerMinute};w=${windowSeconds}`,
        RateLimit: `"calls";r=${left.remainingPoints};t=${seconds}`,
        ...(!allowed && { 'Retry-After': String(seconds) }),
      },
    };
  }
}
