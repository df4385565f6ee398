import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { keysOf } from './keys.js';

const ids = { instanceId: '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11', backupId: '0199f3c2-9d21-7f30-9b1c-5a6b7c8d9e0f' };

test('whatever a customer is called, its objects lie below a prefix that is its own', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (one, other) => {
      const [a, b] = [keysOf('mesh', { customerId: one, ...ids }), keysOf('mesh', { customerId: other, ...ids })];
      expect(a.customer).toMatch(/^mesh\/[^/.]+\/$/);
      for (const key of [a.manifest, a.dump('7'), a.index('7'), a.fingerprint('7'), a.files])
        expect(key.startsWith(a.customer)).toBe(true);
      if (one !== other) expect(a.customer.startsWith(b.customer)).toBe(false);
    }),
  );
});

test('what one attempt sends never has the name of what another one sent', () => {
  const { dump, index, fingerprint } = keysOf('mesh', { customerId: 'c', ...ids });
  for (const key of [dump, index, fingerprint]) expect(key('7')).not.toBe(key('8'));
});
