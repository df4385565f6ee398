import type { Log } from '#observability/log.js';
import type { FilesResult } from '../domain/files-result.js';
import { ContentsDamaged, Corrupted, fillFiles } from './fill-files.js';
import {
  type FilesToFill,
  type FilesToSave,
  type Filestore,
  FileVanished,
  FolderMissing,
  ObjectMissing,
  type ObjectStore,
  ObjectStoreError,
  VolumeFull,
} from './ports.js';
import { FilesDamaged, saveFiles } from './save-files.js';

export type FilesTask = ({ readonly kind: 'save' } & FilesToSave) | ({ readonly kind: 'fill' } & FilesToFill);

export interface FilesOutcome {
  readonly result: FilesResult;
  /** It ended badly, and would again. */
  readonly hopeless: boolean;
}

/** Never rejects: a failure is a result. */
export async function doFilesTask(
  tools: { readonly store: ObjectStore; readonly filestore: Filestore; readonly log: Log },
  task: FilesTask,
  signal: AbortSignal,
): Promise<FilesOutcome> {
  try {
    if (task.kind === 'save') {
      const { uploaded: carried, ...counts } = await saveFiles(tools, task, signal);
      return { result: { ...counts, carried }, hopeless: false };
    }
    const { downloaded: carried, ...counts } = await fillFiles(tools, task, signal);
    return { result: { ...counts, carried }, hopeless: false };
  } catch (error) {
    tools.log.error('the files were not carried', { error });
    // What was broken off says so, whatever it was in the middle of.
    return failureOf(signal.aborted ? signal.reason : error);
  }
}

function failureOf(error: unknown): FilesOutcome {
  const message = error instanceof Error ? error.message : String(error);
  const failure = (code: string, hopeless: boolean) => ({ result: { code, message }, hopeless });
  if (error instanceof FilesDamaged) return failure('FILE_DAMAGED', true);
  if (error instanceof ContentsDamaged)
    return { result: { code: 'CORRUPTED', message, damaged: error.contents }, hopeless: true };
  if (error instanceof Corrupted) return failure('CORRUPTED', true);
  if (error instanceof ObjectMissing) return failure('OBJECT_MISSING', true);
  if (error instanceof FolderMissing) return failure('FOLDER_MISSING', true);
  if (error instanceof VolumeFull) return failure('VOLUME_FULL', true);
  if (error instanceof ObjectStoreError) return failure('STORE_REFUSES', !error.retryable);
  // The next look does not see it any more.
  if (error instanceof FileVanished) return failure('FILE_VANISHED', false);
  return failure('FILES_NOT_CARRIED', false);
}
