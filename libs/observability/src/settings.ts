import { z } from 'zod';
import { defaultRatio } from './tracing.js';

/** What every service reads from its environment, for its `config.ts`. */
export function serviceSettings(httpPort: number) {
  return {
    /** Everything global begins with it. */
    MESH_NAME: z
      .string()
      .regex(/^[a-z]([a-z0-9-]{0,27}[a-z0-9])?$/)
      .default('mesh'),
    MESH_HTTP_HOST: z.string().default('127.0.0.1'),
    MESH_HTTP_PORT: z.coerce.number().int().min(0).max(65_535).default(httpPort),
    MESH_LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
    /** OTLP/HTTP collector, `http://host:4318`; nothing is exported without one. */
    MESH_OTLP_ENDPOINT: z.url().optional(),
    /**
     * How much is kept, 0 to 1, of what no operation asked for: reads over the API, and what services tell each other of
     * themselves. Operations are always kept, unless their caller's trace is not.
     */
    MESH_TRACE_RATIO: z.coerce.number().min(0).max(1).default(defaultRatio),
  };
}
