import { describe, expect, it, test } from '@jest/globals';
import { countsPod, podDemand, sumOf } from './pod-demand.js';

const MiB = 1024 ** 2;
const asking = (memory: string, more: object = {}) => ({
  resources: { requests: { cpu: '50m', memory }, limits: { cpu: '1', memory: '384Mi' } },
  ...more,
});

test('what runs one after the other asks for the most of it, what runs at once for all of it', () => {
  const spec = { initContainers: [asking('300Mi'), asking('100Mi')], containers: [asking('160Mi'), asking('50Mi')] };
  expect(podDemand(spec)).toMatchObject({
    ...{ pods: 1, 'count/pods': 1 },
    ...{ memory: 300 * MiB, 'requests.memory': 300 * MiB, 'limits.memory': 768 * MiB },
    ...{ cpu: 0.1, 'requests.cpu': 0.1, 'limits.cpu': 2 },
  });
});

test('a sidecar stays beside what comes after it, and not beside what came before', () => {
  const sidecar = asking('160Mi', { restartPolicy: 'Always' });
  const memoryOf = (initContainers: object[]) =>
    podDemand({ initContainers, containers: [asking('100Mi')] })['requests.memory'];
  expect(memoryOf([asking('250Mi'), sidecar])).toBe(260 * MiB);
  expect(memoryOf([sidecar, asking('250Mi')])).toBe(410 * MiB);
});

test('who says only its limit asks for that much, and who says nothing for nothing', () => {
  expect(podDemand({ containers: [{ resources: { limits: { memory: '1Gi' } } }, {}] })).toMatchObject({
    ...{ memory: 1024 * MiB, 'limits.memory': 1024 * MiB, cpu: 0 },
  });
});

test('the sum of none is nothing', () => {
  expect(sumOf([])).toEqual({});
  expect(sumOf([{ pods: 1, memory: 5 }, { pods: 1 }])).toEqual({ pods: 2, memory: 5 });
});

describe('a quota counts our pods', () => {
  const priority = (operator: string, values?: string[]) => ({
    scopeSelector: { matchExpressions: [{ scopeName: 'PriorityClass', operator, ...(values && { values }) }] },
  });
  it.each([
    [{}, true],
    [{ scopes: ['NotTerminating', 'NotBestEffort'] }, true],
    [{ scopes: ['BestEffort'] }, false],
    [{ scopes: ['NotBestEffort', 'Terminating'] }, false],
    [{ scopes: ['PriorityClass'] }, true],
    [{ scopes: ['CrossNamespacePodAffinity'] }, false],
    [priority('In', ['m-instance']), true],
    [priority('In', ['m-spare']), false],
    [priority('NotIn', ['m-spare']), true],
    [priority('NotIn', ['m-instance']), false],
    [priority('Exists'), true],
    [priority('DoesNotExist'), false],
  ])('%j: %s', (quota, counts) => expect(countsPod(quota, 'm-instance')).toBe(counts));
});
