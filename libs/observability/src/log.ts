import { trace } from '@opentelemetry/api';
import { type Logger, pino } from 'pino';
import { textWithoutSecrets, withoutSecrets } from './without-secrets.js';

export type Fields = Readonly<Record<string, unknown>>;
export type Level = 'debug' | 'info' | 'warn' | 'error';

/**
 * One JSON line per entry: a constant message, so that it can be searched, and fields for what varies; errors as
 * `{ error }`. Within a span each line has its `traceId` and `spanId`. Secrets do not get in (without-secrets.ts).
 * Writing never throws. A line is out when the call returns, so that one who is killed has said what it said.
 */
export class Log {
  private readonly logger: Logger;

  constructor(options: {
    readonly service: string;
    readonly level?: string;
    readonly destination?: NodeJS.WritableStream;
  }) {
    this.logger = pino(
      {
        level: options.level ?? 'info',
        base: { service: options.service },
        timestamp: pino.stdTimeFunctions.isoTime,
        formatters: { level: (label) => ({ level: label }) },
        mixin: () => {
          const span = trace.getActiveSpan()?.spanContext();
          return span ? { traceId: span.traceId, spanId: span.spanId } : {};
        },
      },
      options.destination ?? pino.destination({ fd: 1, sync: true }),
    );
  }

  debug(message: string, fields?: Fields): void {
    this.write('debug', message, fields);
  }

  info(message: string, fields?: Fields): void {
    this.write('info', message, fields);
  }

  warn(message: string, fields?: Fields): void {
    this.write('warn', message, fields);
  }

  error(message: string, fields?: Fields): void {
    this.write('error', message, fields);
  }

  private write(level: Level, message: string, fields: Fields = {}): void {
    if (!this.logger.isLevelEnabled(level)) return;
    const safe = withoutSecrets(fields);
    this.logger[level](typeof safe === 'object' ? safe : { fields: safe }, textWithoutSecrets(message));
  }
}
