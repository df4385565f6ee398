import { z } from 'zod';
import { duration } from '#persistence/index.js';
import { defaultAskAgainMs } from './asked.js';
import { defaultRetryLevels, parseRetryLevels } from './topology.js';

/** What a service that hears or says anything reads from its environment, for its `config.ts`. */
export const brokerSettings = {
  /** `amqp://<mesh>-<service>:password@host/<vhost>` */
  MESH_AMQP_URL: z.url(),
  /** `1s,5s,30s,2m,10m,1h`: how long a message that failed waits, each time. */
  MESH_RETRY_LEVELS: z.string().transform(parseRetryLevels).default(defaultRetryLevels),
  /** How soon a request that another service has not answered is asked again, at first; then twice as long each time. */
  MESH_ASK_AGAIN: duration.default(defaultAskAgainMs),
};
