/** Does `work` for 0 … n-1, `concurrency` at a time. Rejects with the first error. */
export async function inParallel(
  n: number,
  concurrency: number,
  work: (index: number, worker: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async (number: number) => {
    while (next < n) await work(next++, number);
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, n) }, (_, number) => worker(number)));
}
