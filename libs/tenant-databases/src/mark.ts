/** The comment on every role and database of ours: by it they are known, by nothing else. */
export interface Mark {
  readonly mesh: string;
  readonly footprint: string;
  readonly epoch: number;
  /** Of a database: how far it is. */
  readonly state?: 'copied' | 'owned' | 'personal' | 'empty' | 'filling' | 'filled' | undefined;
}

export function writeMark(mark: Mark): string {
  return JSON.stringify(mark);
}

export function readMark(comment: string | null): Mark | undefined {
  try {
    const mark = JSON.parse(comment ?? '');
    return typeof mark?.mesh === 'string' && typeof mark.footprint === 'string' ? mark : undefined;
  } catch {
    return undefined;
  }
}
