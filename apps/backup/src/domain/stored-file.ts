/** A file of an Odoo's filestore, as its row in ir_attachment knows it. */
export interface StoredFile {
  /** `store_fname`: a folder of the first two digits of the content's SHA-1 (in old databases three), and the SHA-1. */
  readonly name: string;
  readonly bytes: number;
}

/** Whether Odoo keeps an attachment under such a name; the spool of its garbage collection and its temporary names are none. */
export function isStoredName(name: string): boolean {
  const [, folder, sha1] = /^([0-9a-f]{2,3})\/([0-9a-f]{40})$/.exec(name) ?? [];
  return folder !== undefined && sha1!.startsWith(folder);
}

/** In hex, as the name says it. */
export const sha1Of = (name: string): string => name.slice(name.indexOf('/') + 1);

/** Where its content is kept. @param files a prefix, up to and with its last slash. */
export const contentKey = (files: string, name: string): string => keyOfSha1(files, sha1Of(name));

export const keyOfSha1 = (files: string, sha1: string): string => `${files}${sha1.slice(0, 2)}/${sha1}`;

/** Whether a key below `files`, without that prefix, is a content's; something else that somebody has put there is none of ours. */
export function isContent(name: string): boolean {
  return /^[0-9a-f]{2}\/[0-9a-f]{40}$/.test(name) && isStoredName(name);
}

/** One of an index: JSON of one line, sorted by name. */
export const indexLine = ({ name, bytes }: StoredFile): string => `${JSON.stringify({ name, bytes })}\n`;

/** Throws on what is no line of an index: a name of it becomes a path. */
export function readIndexLine(line: string): StoredFile {
  const { name, bytes } = parsed(line);
  if (typeof name !== 'string' || !isStoredName(name) || !Number.isSafeInteger(bytes) || Number(bytes) < 0)
    throw new Error('not a line of an index of files');
  return { name, bytes: Number(bytes) };
}

function parsed(line: string): { readonly name?: unknown; readonly bytes?: unknown } {
  try {
    return JSON.parse(line) ?? {};
  } catch {
    return {};
  }
}
