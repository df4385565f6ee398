import { InstancePlaced, InstanceReady, InstanceStateChanged, InstanceTerminated } from '#contracts/index.js';
import { on } from '#messaging/index.js';
import {
  LearnPlacedHandler,
  LearnReadyHandler,
  LearnStateHandler,
  LearnTerminatedHandler,
} from '../application/learn-site.handlers.js';

const inBatches = { batch: true };

/** All that the edge hears: of each fact it writes a row. */
export const subscriptions = [
  on(InstancePlaced, LearnPlacedHandler, inBatches),
  on(InstanceReady, LearnReadyHandler, inBatches),
  on(InstanceStateChanged, LearnStateHandler, inBatches),
  on(InstanceTerminated, LearnTerminatedHandler, inBatches),
];
