/** How the work of a files Job ended, as its termination message says it. */
export type FilesResult =
  | {
      readonly files: number;
      readonly bytes: number;
      /** Files that were carried now; the others were there. */
      readonly carried: number;
    }
  | { readonly code: string; readonly message: string };

/** Kubernetes keeps so much of a message, in bytes. */
const most = 4_096;

export function resultText(result: FilesResult): string {
  if (!('code' in result)) return JSON.stringify(result);
  // Of the longest escape a character is six bytes.
  return JSON.stringify({ code: result.code, message: result.message.slice(0, (most - 200) / 6) });
}

/** Undefined: nobody has written one. */
export function readResult(text: string | undefined): FilesResult | undefined {
  try {
    const { files, bytes, carried, code, message } = JSON.parse(text ?? '') ?? {};
    if (typeof code === 'string' && typeof message === 'string') return { code, message };
    const counts = [files, bytes, carried];
    return counts.every((count) => Number.isSafeInteger(count) && count >= 0) ? { files, bytes, carried } : undefined;
  } catch {
    return undefined;
  }
}
