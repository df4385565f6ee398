import { expect, it } from '@jest/globals';
import type { Cell } from './placement.js';
import { type Pool, poolChanges, type Spare, type SpareWish } from './spares.js';
import type { Template } from './template-choice.js';

const wish: SpareWish = { plan: 'business', odooVersion: '18.0', bundle: 'apps', language: 'en_US', count: 2 };
const cell: Cell = { id: 'c0', namespace: 'mesh-c0', state: 'open', places: 10, reserved: 0 };
const template: Template = {
  image: 'odoo:18.0',
  version: '18.0',
  bundle: 'apps',
  language: 'en_US',
  databaseShard: 'local',
  database: 'tpl',
  madeAt: '2026-11-01T00:00:00.000Z',
};
const pool: Pool = {
  cell: 'c0',
  databaseShard: 'local',
  templateDatabase: 'tpl',
  templateMadeAt: template.madeAt,
  plan: 'business',
  planVersion: 1,
};
const spare = (footprintId: string, change: Partial<Spare> = {}): Spare => ({
  ...pool,
  footprintId,
  state: 'ready',
  ...change,
});
const changes = (
  spares: readonly Spare[],
  { wishes = [wish], cells = [cell], templates = [template] } = {},
  version: number | undefined = 1,
) => poolChanges(wishes, cells, templates, () => version, spares);

it('makes what is missing, and nothing once it is there', () => {
  expect(changes([])).toEqual({ make: [pool, pool], retire: [] });
  expect(changes([spare('a', { state: 'asked' })])).toEqual({ make: [pool], retire: [] });
  expect(changes([spare('a'), spare('b')])).toEqual({ make: [], retire: [] });
});

it('counts in each open cell and on each shard that has the template', () => {
  const cells: Cell[] = [cell, { ...cell, id: 'c1' }, { ...cell, id: 'c2', state: 'opening' }];
  const templates = [template, { ...template, databaseShard: 'other' }, { ...template, language: 'fr_FR' }];
  const { make } = changes([], { wishes: [{ ...wish, count: 1 }], cells, templates });
  expect(make.map(({ cell: id, databaseShard }) => `${id} ${databaseShard}`)).toEqual([
    'c0 local',
    'c0 other',
    'c1 local',
    'c1 other',
  ]);
});

it('retires spares of a template that was made anew, of an older plan, and of what is not wanted any more', () => {
  const old = spare('a', { templateMadeAt: '2026-10-01T00:00:00.000Z' });
  expect(changes([old, spare('b'), spare('c')])).toEqual({ make: [], retire: [old] });
  expect(changes([spare('a')], {}, 2)).toEqual({
    make: [
      { ...pool, planVersion: 2 },
      { ...pool, planVersion: 2 },
    ],
    retire: [spare('a')],
  });
  expect(changes([spare('a')], { wishes: [] })).toEqual({ make: [], retire: [spare('a')] });
  expect(changes([spare('a')], { cells: [{ ...cell, state: 'closed' }] }).retire).toEqual([spare('a')]);
});

it('of too many those go first that are not ready', () => {
  const asked = spare('a', { state: 'asked' });
  expect(changes([asked, spare('b'), spare('c')]).retire).toEqual([asked]);
});

it('a time is the same however it is written', () => {
  const same = spare('a', { templateMadeAt: '2026-11-01T01:00:00.000+01:00' });
  expect(changes([same, spare('b')])).toEqual({ make: [], retire: [] });
});
