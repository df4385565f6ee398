import { basename } from 'node:path';
import Sequencer from '@jest/test-sequencer';

/** More than a minute each, the longest first: one that begins last runs alone, and the other core has nothing to do. */
const long = [
  ...['upgrade.node-spec', 'kill-backup', 'restore.node-spec', 'make-template', 'backup-files', 'try-the-api'],
  ...['switch-instances', 'restore-instances', 'kill-at-every-step', 'messaging-batches', 'warm-spares'],
  ...['upgrade-instances', 'claim-spares', 'end-instances', 'explain-what-is-broken', 'back-up-instances'],
  ...['lost-broker', 'end-or-keep', 'trace-operation'],
];
/** What leaves its stack with a lot to clean up: the stack is thrown away after it. */
const last = 'reflector.outage-spec';

/** The others by their name, so that runs can be compared. */
export default class LongOnesFirst extends Sequencer {
  sort(tests) {
    const place = ({ path }) => {
      const name = basename(path);
      if (name.startsWith(last)) return long.length + 1;
      const at = long.findIndex((one) => name.startsWith(one));
      return at < 0 ? long.length : at;
    };
    return [...tests].sort((a, b) => place(a) - place(b) || (a.path < b.path ? -1 : 1));
  }
}
