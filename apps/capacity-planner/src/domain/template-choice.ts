/** A frozen database and its files on one shard, from which instances are made. */
export interface Template {
  readonly image: string;
  readonly version: string;
  readonly bundle: string;
  readonly language: string;
  readonly databaseShard: string;
  readonly database: string;
  /** RFC 3339; one that is made anew under the same name is another template. */
  readonly madeAt: string;
}

export interface TemplateWish {
  readonly odooVersion: string;
  readonly bundle: string;
  readonly language: string;
}

export type TemplateChoice =
  | { readonly templates: readonly Template[] }
  | { readonly code: 'unknown-version' | 'unknown-bundle' | 'unknown-language'; readonly message: string };

/** All templates that serve the wish, on whichever shards, or what is unknown about it. */
export function templatesFor(wish: TemplateWish, known: readonly Template[]): TemplateChoice {
  const ofVersion = known.filter((one) => one.version === wish.odooVersion);
  if (ofVersion.length === 0)
    return {
      code: 'unknown-version',
      message: `there is no template of this Odoo version; there is ${list(known, 'version')}`,
    };
  const ofBundle = ofVersion.filter((one) => one.bundle === wish.bundle);
  if (ofBundle.length === 0)
    return { code: 'unknown-bundle', message: `this version has no such bundle; it has ${list(ofVersion, 'bundle')}` };
  const templates = ofBundle.filter((one) => one.language === wish.language);
  if (templates.length === 0)
    return {
      code: 'unknown-language',
      message: `this bundle has no such language; it has ${list(ofBundle, 'language')}`,
    };
  return { templates };
}

function list(templates: readonly Template[], field: 'version' | 'bundle' | 'language'): string {
  return [...new Set(templates.map((one) => one[field]))].sort().join(', ');
}
