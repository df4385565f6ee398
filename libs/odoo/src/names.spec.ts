import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { footprintNames, isDatabaseOf, isSecretOf, labelValue } from './names.js';

const id = '0199f3c2-79d0-7aa2-8a15-6f2d3b9c0e11';
const object = 'o0199f3c279d07aa28a156f2d3b9c0e11';

describe('names of a footprint', () => {
  it('come from its id and the name of the mesh', () => {
    expect(footprintNames('mesh', id)).toEqual({
      object,
      secret: `${object}-v1`,
      database: `mesh_${object}`,
      role: `mesh_${object}`,
    });
    expect(footprintNames('my-mesh-2', id.toUpperCase(), 12)).toEqual({
      object,
      secret: `${object}-v12`,
      database: `my_mesh_2_${object}`,
      role: `my_mesh_2_${object}`,
    });
  });

  it('fit PostgreSQL and Kubernetes with the longest name of a mesh', () => {
    expect(footprintNames('m'.repeat(29), id).database).toHaveLength(63);
    expect(() => footprintNames('m'.repeat(30), id)).toThrow('at most 29');
  });

  it.each(['', 'Mesh', '1mesh', 'mesh-', 'my_mesh', 'mesh"', 'mesh\n'])('refuse %j as the name of a mesh', (mesh) => {
    expect(() => footprintNames(mesh, id)).toThrow("a mesh's name is");
  });

  it.each(['', 'acme', `${id}0`, id.replaceAll('-', ''), `${id}\n`])('refuse %j as an id', (footprintId) => {
    expect(() => footprintNames('mesh', footprintId)).toThrow('UUID');
  });

  it.each([0, -1, 1.5, Number.NaN])('refuse %d as the version of a Secret', (version) => {
    expect(() => footprintNames('mesh', id, version)).toThrow('counts from 1');
  });

  it('are names that both take, or an error, whatever the mesh is called', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[a-z][a-z0-9_-]{0,40}$/)), (mesh) => {
        let names: ReturnType<typeof footprintNames>;
        try {
          names = footprintNames(mesh, id);
        } catch {
          return;
        }
        expect(names.database).toMatch(/^[a-z][a-z0-9_]{0,62}$/);
        expect(names.secret).toMatch(/^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/);
      }),
    );
  });
});

describe('what belongs to a footprint', () => {
  const names = footprintNames('mesh', id);

  it.each(['', '_1', '_42'])('is a database called as its own with %j behind', (end) => {
    expect(isDatabaseOf(names.database, `${names.database}${end}`)).toBe(true);
  });

  it.each(['_', '_0', '_01', '_x', '_1_1', '1', '_1\n'])('is no database called as its own with %j behind', (end) => {
    expect(isDatabaseOf(names.database, `${names.database}${end}`)).toBe(false);
  });

  it('is a Secret in any version, and nobody else’s', () => {
    expect([1, 2, 12].map((version) => isSecretOf(names, footprintNames('mesh', id, version).secret))).toEqual([
      ...[true, true, true],
    ]);
    for (const secret of ['', object, `${object}-v`, `${object}-v0`, `${object}-v1x`, 'mesh-tls', `x${object}-v1`])
      expect(isSecretOf(names, secret)).toBe(false);
    expect(isDatabaseOf(names.database, 'postgres')).toBe(false);
  });
});

describe('a label value', () => {
  const hash = /^h[0-9a-f]{40}$/;

  it.each(['c-1042', 'A', 'a'.repeat(63), 'a.b_c-d'])('is %j as it is', (text) => {
    expect(labelValue(text)).toBe(text);
  });

  it.each(['', '-a', 'a-', 'a b', 'ä', 'a\n', 'a/b', 'a'.repeat(64), `h${'0'.repeat(40)}`])(
    'is a hash instead of %j',
    (text) => {
      expect(labelValue(text)).toMatch(hash);
    },
  );

  it('tells texts apart that only differ in what UTF-8 cannot hold', () => {
    expect(labelValue('\ud800')).not.toBe(labelValue('\ud801'));
  });

  it('is valid and tells texts apart, whatever they hold', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme', maxLength: 128 }));
    fc.assert(
      fc.property(text, text, (one, other) => {
        expect(labelValue(one)).toMatch(/^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/);
        expect(labelValue(one) === labelValue(other)).toBe(one === other);
        expect(labelValue(labelValue(one)) === labelValue(one)).toBe(!hash.test(labelValue(one)));
      }),
    );
  });
});
