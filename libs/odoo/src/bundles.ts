/** Bundle → the modules that are installed in its templates; what they depend on comes by itself. */
const bundles: ReadonlyMap<string, readonly string[]> = new Map([
  ['base', ['base', 'web', 'mail']],
  ['apps', ['base', 'web', 'mail', 'contacts', 'crm', 'sale_management', 'account', 'project', 'stock']],
]);

/** Undefined: there is no such bundle. */
export function modulesOf(bundle: string): readonly string[] | undefined {
  return bundles.get(bundle);
}

export function bundleNames(): string[] {
  return [...bundles.keys()];
}
