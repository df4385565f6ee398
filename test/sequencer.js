import Sequencer from '@jest/test-sequencer';

/**
 * Files by their name, so that runs can be compared. What leaves its stack with a lot to clean up comes last: the stack
 * is thrown away after it.
 */
export default class ByName extends Sequencer {
  sort(tests) {
    const last = (test) => Number(test.path.includes('/reflector.outage-spec.'));
    return [...tests].sort((a, b) => last(a) - last(b) || (a.path < b.path ? -1 : 1));
  }
}
