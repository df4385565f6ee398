import { expect, test } from '@jest/globals';
import { busiest } from './profile.js';

const node = (id: number, functionName: string, url = '') => ({ id, callFrame: { functionName, url, lineNumber: 9 } });

test('shares are of the time that was worked, busiest first, without paths of this machine', () => {
  const profile = {
    nodes: [
      node(1, '(idle)'),
      node(2, 'parse', 'file:///somewhere/node_modules/zod/v4/parse.js'),
      node(3, 'send', 'file:///somewhere/dist/libs/messaging/src/outbox-relay.js'),
      node(4, 'newMessage', 'file:///somewhere/dist/test/bench/messages.js'),
    ],
    samples: [1, 2, 3, 3, 4],
    timeDeltas: [1_000, 10, 20, 10, 500],
  };
  expect(busiest(profile)).toEqual([
    ' 75.0 %  send  libs/messaging/src/outbox-relay.js:10',
    ' 25.0 %  parse  zod/v4/parse.js:10',
  ]);
});

test('one function in several places of the tree is one line', () => {
  const profile = { nodes: [node(1, 'f'), node(2, 'f')], samples: [1, 2], timeDeltas: [5, 5] };
  expect(busiest(profile)).toEqual(['100.0 %  f']);
});
