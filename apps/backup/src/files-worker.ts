import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Log } from '#observability/log.js';
import { hopelessExitCode } from '#odoo/index.js';
import { doFilesTask } from './application/do-files-task.js';
import { resultText } from './domain/files-result.js';
import { readWorkerConfig } from './files-worker.config.js';
import { FilestoreFolder } from './infrastructure/filestore-folder.js';
import { S3ObjectStore } from './infrastructure/s3-object-store.js';

// What a files Job runs in its cell: no service, it hears nothing and ends. Begun again it goes on where it stopped.
const config = readWorkerConfig();
const log = new Log({ service: 'backup-files' });
const store = new S3ObjectStore(config.storage);
const filestore = new FilestoreFolder(join(config.MESH_FILESTORE, config.task.folder));

const told = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => told.abort(new Error(`it was told to end, by ${signal}`)));

const { result, hopeless } = await doFilesTask({ store, filestore, log }, config.task, told.signal);
const text = resultText(result);
log.info('the work ended', { result });
writeFileSync(config.MESH_RESULT_FILE, text);
// What is still open of a work that failed keeps nobody waiting.
process.exit('code' in result ? (hopeless ? hopelessExitCode : 1) : 0);
