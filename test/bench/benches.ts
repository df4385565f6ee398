import { api } from './api.bench.js';
import { backup } from './backup.bench.js';
import type { Bench } from './bench.js';
import { consume } from './consume.bench.js';
import { inbox } from './inbox.bench.js';
import { kubernetes } from './kubernetes.bench.js';
import { lifecycle, lifecycleThousand } from './lifecycle.bench.js';
import { living } from './living.bench.js';
import { outbox } from './outbox.bench.js';
import { provision, provisionThousand } from './provision.bench.js';
import { publish } from './publish.bench.js';
import { relay } from './relay.bench.js';

/** In the order in which they run. */
export const benches: readonly Bench[] = [
  publish,
  consume,
  relay,
  outbox,
  inbox,
  kubernetes,
  api,
  provision,
  provisionThousand,
  lifecycle,
  lifecycleThousand,
  backup,
  living,
];
