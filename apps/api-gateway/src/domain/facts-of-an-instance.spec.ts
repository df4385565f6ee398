import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { registry } from '#contracts/index.js';
import { explain } from './explanation.js';
import { viewStates } from './instance-view.js';
import { stateOfOperation } from './operation.js';
import { tell } from './timeline.js';

const aboutInstances = registry.filter(
  (one) => one.kind === 'fact' && (one.subject === 'instance' || one.key === 'instance.refused.v1') && !one.firstHand,
);

test.each(aboutInstances.map((one) => one.key))('%s is told in a sentence with all its words', (key) => {
  const { data } = JSON.parse(readFileSync(`libs/contracts/fixtures/${key}/example.json`, 'utf8'));
  const { fact, summary } = tell(key, data);
  expect(fact).toBe(key.replace('.v1', ''));
  expect(summary).toMatch(/^[A-Z].*\.$/);
  expect(summary).not.toMatch(/undefined|was said/);
});

test.each(viewStates)('an instance that is %s is explained, with or without a reason we know', (state) => {
  for (const reason of [null, 'PodNotReady', 'NeverHeardOf'])
    expect(explain({ state, reason, step: null })).toMatchObject({ state, reason, next: expect.stringMatching(/\.$/) });
});

test.each([
  [[], 'pending'],
  [['instance.placed', 'instance.provisioning-started', 'instance.provisioning-progressed'], 'pending'],
  [['instance.placed', 'instance.provisioning-failed'], 'failed'],
  [['instance.provisioning-failed', 'instance.provisioning-started'], 'pending'],
  [['instance.provisioning-started', 'instance.ready'], 'succeeded'],
  [['instance.refused'], 'refused'],
] as const)('after %j an operation is %s', (facts, state) => expect(stateOfOperation(facts)).toBe(state));
