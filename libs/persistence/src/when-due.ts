/**
 * Calls when `ms` have really passed since now. A timer of Node's counts whole milliseconds of its loop's clock, and may
 * come earlier: what the database was told to make due in `ms` is not due then, and nobody would look again.
 */
export function whenDue(ms: number, call: () => void): void {
  const due = performance.now() + ms;
  const look = () => {
    const left = due - performance.now();
    if (left <= 0) call();
    else setTimeout(look, left).unref();
  };
  setTimeout(look, ms).unref();
}
