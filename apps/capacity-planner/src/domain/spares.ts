import type { Cell } from './placement.js';
import type { Template } from './template-choice.js';

/** So many running spares are to be at hand in each cell, on each shard that has the template. */
export interface SpareWish {
  readonly plan: string;
  readonly odooVersion: string;
  readonly bundle: string;
  readonly language: string;
  readonly count: number;
}

/** What spares are alike in: any of them serves whoever wants one. */
export interface Pool {
  readonly cell: string;
  readonly databaseShard: string;
  /** The template's database; made anew under the same name it is another template. */
  readonly templateDatabase: string;
  /** RFC 3339. */
  readonly templateMadeAt: string;
  readonly plan: string;
  readonly planVersion: number;
}

export interface Spare extends Pool {
  readonly footprintId: string;
  /** `asked` → `ready` → `claimed`, which is for ever; `asked` or `ready` → `retiring`. */
  readonly state: 'asked' | 'ready' | 'claimed' | 'retiring';
}

export interface PoolChanges {
  /** One entry for each spare that is missing. */
  readonly make: readonly Pool[];
  /** On a template, plan or cell that nobody wants spares of any more, or too many; those that are not ready go first. */
  readonly retire: readonly Spare[];
}

/**
 * What has to change for the wishes to be met. Only open cells get spares, and `spares` are those that nobody has claimed
 * and that are not on their way out.
 */
export function poolChanges(
  wishes: readonly SpareWish[],
  cells: readonly Cell[],
  templates: readonly Template[],
  newestPlan: (name: string) => number | undefined,
  spares: readonly Spare[],
): PoolChanges {
  const wanted = new Map<string, { readonly pool: Pool; count: number }>();
  for (const { plan, odooVersion, bundle, language, count } of wishes) {
    const planVersion = newestPlan(plan);
    if (planVersion === undefined) continue;
    const serving = templates.filter(
      (one) => one.version === odooVersion && one.bundle === bundle && one.language === language,
    );
    for (const { id: cell } of cells.filter(({ state }) => state === 'open'))
      for (const { databaseShard, database: templateDatabase, madeAt: templateMadeAt } of serving) {
        const pool = { cell, databaseShard, templateDatabase, templateMadeAt, plan, planVersion };
        wanted.set(keyOf(pool), { pool, count });
      }
  }
  const retire: Spare[] = [];
  for (const spare of [...spares].sort((a, b) => Number(b.state === 'ready') - Number(a.state === 'ready'))) {
    const want = wanted.get(keyOf(spare));
    if (want && want.count > 0) want.count -= 1;
    else retire.push(spare);
  }
  const make = [...wanted.values()].flatMap(({ pool, count }) => Array.from({ length: count }, () => pool));
  return { make, retire };
}

function keyOf({ cell, databaseShard, templateDatabase, templateMadeAt, plan, planVersion }: Pool): string {
  return JSON.stringify([cell, databaseShard, templateDatabase, Date.parse(templateMadeAt), plan, planVersion]);
}
