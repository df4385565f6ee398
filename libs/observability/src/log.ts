import type { LoggerService } from '@nestjs/common';
import { trace } from '@opentelemetry/api';
import { type Logger, pino } from 'pino';

export type Fields = Readonly<Record<string, unknown>>;

/** Where a field of one of these names stands in a log line, its value does not. */
const secretFields = [
  'password',
  'adminPassword',
  'adminPasswordHash',
  'databasePassword',
  'token',
  'authorization',
  'secret',
  'apiKey',
];

/** One JSON line per entry: a constant message, so that it can be searched, and fields for what varies. */
export class Log implements LoggerService {
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
        redact: {
          paths: [...secretFields, ...secretFields.map((name) => `*.${name}`)],
          censor: '[secret]',
        },
        serializers: { error: describeError },
        mixin: () => {
          const span = trace.getActiveSpan()?.spanContext();
          return span ? { traceId: span.traceId, spanId: span.spanId } : {};
        },
      },
      options.destination ?? pino.destination({ fd: 1, sync: false }),
    );
  }

  info(message: string, fields: Fields = {}): void {
    this.logger.info(fields, message);
  }

  warn(message: string, fields: Fields | string = {}): void {
    this.logger.warn(this.fieldsOf(fields), message);
  }

  error(message: string, fields: Fields | string = {}): void {
    this.logger.error(this.fieldsOf(fields), message);
  }

  /** Nest's own lines: its second argument is where they come from. */
  log(message: unknown, context?: string): void {
    this.logger.debug({ ...(context && { context }) }, String(message));
  }

  debug(message: unknown, fields: Fields | string = {}): void {
    this.logger.debug(this.fieldsOf(fields), String(message));
  }

  private fieldsOf(fields: Fields | string): Fields {
    return typeof fields === 'string' ? { context: fields } : fields;
  }
}

/** Name, message, code and stack, and whatever caused it; an address with a password in it loses that. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { name, message, stack, cause } = error;
  const code = (error as { code?: unknown }).code;
  return {
    name,
    message: withoutCredentials(message),
    ...(code !== undefined && { code }),
    ...(cause !== undefined && { cause: describeError(cause) }),
    stack: stack && withoutCredentials(stack),
  };
}

export function withoutCredentials(text: string): string {
  return text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@]+@/gi, '$1[secret]@');
}
