const length = 20;

/**
 * Contents, by their SHA-1 in hex, of which it is asked whether any backup names them: as many as an instance has, 20 bytes
 * each and a bit, so that a million of them need no more memory than a photograph.
 */
export class UnnamedFiles {
  private sums = Buffer.alloc(1024 * length);
  private count = 0;
  private named = Buffer.alloc(0);
  private sealed = false;

  /** In ascending order, all of them before the first `name`. Throws on what is no SHA-1, or not in order. */
  add(sha1: string): void {
    if (this.sealed) throw new Error('all contents have to be known before the first is named');
    const sum = bytesOf(sha1);
    if (this.count > 0 && this.compare(this.count - 1, sum) >= 0) throw new Error(`contents out of order at ${sha1}`);
    if (this.count * length === this.sums.length) {
      const bigger = Buffer.alloc(this.sums.length * 2);
      this.sums.copy(bigger);
      this.sums = bigger;
    }
    sum.copy(this.sums, this.count * length);
    this.count += 1;
  }

  /** A backup names it. @returns whether it is there. */
  name(sha1: string): boolean {
    this.seal();
    const at = this.find(sha1);
    if (at === undefined) return false;
    this.named[at >>> 3]! |= 1 << (at & 7);
    return true;
  }

  /** Whether it is there, and named. */
  isNamed(sha1: string): boolean {
    this.seal();
    const at = this.find(sha1);
    return at !== undefined && this.isNamedAt(at);
  }

  /** Those that nothing has named. */
  *unnamed(): Generator<string> {
    this.seal();
    for (let at = 0; at < this.count; at += 1) {
      if (!this.isNamedAt(at)) yield this.sums.toString('hex', at * length, (at + 1) * length);
    }
  }

  private isNamedAt(at: number): boolean {
    return (this.named[at >>> 3]! & (1 << (at & 7))) !== 0;
  }

  private find(sha1: string): number | undefined {
    const sum = bytesOf(sha1);
    let [low, high] = [0, this.count - 1];
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const order = this.compare(middle, sum);
      if (order === 0) return middle;
      if (order < 0) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  private seal(): void {
    if (this.sealed) return;
    this.sealed = true;
    this.named = Buffer.alloc((this.count + 7) >>> 3);
  }

  private compare(at: number, sum: Buffer): number {
    return this.sums.compare(sum, 0, length, at * length, (at + 1) * length);
  }
}

function bytesOf(sha1: string): Buffer {
  if (!/^[0-9a-f]{40}$/.test(sha1)) throw new Error(`${sha1} is no SHA-1`);
  return Buffer.from(sha1, 'hex');
}
