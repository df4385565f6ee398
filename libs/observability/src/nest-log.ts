import type { LoggerService } from '@nestjs/common';
import type { Fields, Level, Log } from './log.js';

/**
 * Nest's own lines in our log. What Nest calls `log` tells of modules and routes at each start: `debug` here.
 * Nest's arguments are a message, which may be an error or an object, then for errors perhaps a stack, then where the
 * line comes from.
 */
export function nestLog(log: Log): LoggerService {
  const to =
    (level: Level) =>
    (said: unknown, ...more: unknown[]): void => {
      const context = more.findLast((one) => typeof one === 'string' && !isStack(one));
      const stack = more.find(isStack);
      const fields: Fields = { ...(context !== undefined && { context }), ...(stack !== undefined && { stack }) };
      if (typeof said === 'string') log[level](said, fields);
      else if (said instanceof Error) log[level]('error in Nest', { ...fields, error: said });
      else log[level]('line of Nest', { ...fields, said });
    };
  return {
    log: to('debug'),
    verbose: to('debug'),
    debug: to('debug'),
    warn: to('warn'),
    error: to('error'),
    fatal: to('error'),
  };
}

function isStack(text: unknown): text is string {
  return typeof text === 'string' && /\n\s+at .+:\d+:\d+/.test(text);
}
