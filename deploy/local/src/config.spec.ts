import { describe, expect, test } from '@jest/globals';
import { readConfig } from './config.js';

describe('the configuration of the local stack', () => {
  test('has defaults outside the checkout', () => {
    const { root, state, cache, nodes } = readConfig({});
    expect(state).toMatch(/^\/var\/tmp\/odoo-mesh-\d+$/);
    expect(cache.endsWith('/.cache/odoo-mesh')).toBe(true);
    expect(cache.startsWith(root)).toBe(false);
    expect(nodes).toBe(10);
  });

  test('keeps an ambient KUBECONFIG apart from a given one', () => {
    const { given, ambientKubeconfig } = readConfig({ KUBECONFIG: '/home/me/production' });
    expect(given.kubeconfig).toBeUndefined();
    expect(ambientKubeconfig).toBe('/home/me/production');
  });

  test('names every fault at once', () => {
    const wrong = {
      MESH_STATE: `/${'long'.repeat(20)}`,
      MESH_KWOK_NODES: 'many',
      MESH_RABBITMQ_URL: 'amqp://x',
      MESH_S3_ENDPOINT: 'http://x',
      MESH_JAEGER_URL: 'http://x',
    };
    expect(() => readConfig(wrong)).toThrow(
      /MESH_STATE.*MESH_KWOK_NODES.*MESH_S3_ROOT_ACCESS_KEY.*MESH_RABBITMQ_MANAGEMENT_URL.*MESH_OTLP_ENDPOINT/s,
    );
  });
});
