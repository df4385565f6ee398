import { expect, test } from '@jest/globals';
import { registry } from '#contracts/index.js';
import { RecordFactHandler } from '../application/record-fact.handler.js';
import { subscriptions } from './subscriptions.js';

const aboutInstances = registry.filter(
  (one) => one.kind === 'fact' && 'instanceId' in (one.data as unknown as { shape: object }).shape,
);

test.each(aboutInstances.map((one) => one.key))(
  '%s gets its line of the timeline, also when it was overtaken',
  (key) => {
    const heard = subscriptions.find(({ contract }) => contract.key === key);
    const recorders = heard?.facts === 'every' ? [heard.handler] : [heard?.every];
    expect(recorders).toEqual([RecordFactHandler]);
  },
);
