/** How the work of a files Job ended, as its termination message says it. */
export type FilesResult =
  | {
      readonly files: number;
      readonly bytes: number;
      /** Files that were carried now; the others were there. */
      readonly carried: number;
    }
  | {
      readonly code: string;
      readonly message: string;
      /** Contents that the store holds and that are not what their names say, by SHA-1; so many of them as are told. */
      readonly damaged?: readonly string[];
    };

/** Kubernetes keeps so much of a message, in bytes. */
const most = 4_096;
const damagedTold = 40;

export function resultText(result: FilesResult): string {
  if (!('code' in result)) return JSON.stringify(result);
  const { code, message } = result;
  const damaged = result.damaged?.slice(0, damagedTold);
  const left = most - 200 - JSON.stringify(damaged ?? []).length;
  // Of the longest escape a character is six bytes.
  return JSON.stringify({ code, message: message.slice(0, left / 6), ...(damaged && { damaged }) });
}

/** Undefined: nobody has written one. */
export function readResult(text: string | undefined): FilesResult | undefined {
  try {
    const { files, bytes, carried, code, message, damaged } = JSON.parse(text ?? '') ?? {};
    if (typeof code === 'string' && typeof message === 'string')
      return { code, message, ...(areSha1s(damaged) && { damaged }) };
    const counts = [files, bytes, carried];
    return counts.every((count) => Number.isSafeInteger(count) && count >= 0) ? { files, bytes, carried } : undefined;
  } catch {
    return undefined;
  }
}

function areSha1s(list: unknown): list is string[] {
  return Array.isArray(list) && list.every((one) => typeof one === 'string' && /^[0-9a-f]{40}$/.test(one));
}
