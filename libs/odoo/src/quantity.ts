const factors: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** What a Kubernetes quantity means: `1Gi` is 2^30, `50m` is 0.05, `1e3` is 1000. Throws for what is none. */
export function quantityOf(text: string): number {
  const [, number, suffix = ''] =
    /^([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$/.exec(text) ?? [];
  if (number === undefined) throw new Error(`not a quantity: ${JSON.stringify(text)}`);
  return Number(number) * factors[suffix]!;
}
