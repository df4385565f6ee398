import { expect, it } from '@jest/globals';
import { stackEnvironment } from '../e2e/config.js';

it('the stack has a real node', () => {
  expect(stackEnvironment().MESH_NODES).toBe('real');
});
