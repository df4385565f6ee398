import {
  type $Command,
  S3Client,
  type S3ClientResolvedConfig,
  type ServiceInputTypes,
  type ServiceOutputTypes,
} from '@aws-sdk/client-s3';
import type { StorageSettings } from '#object-storage/index.js';
import { type Fence, ObjectStoreError } from '../application/ports.js';

export interface How {
  /** For the message of an error, as in `cannot read backups/x`. */
  readonly to: string;
  /** Asked before each try of a request that changes something. */
  readonly fence?: Fence | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Names of errors that the caller knows what to do with: they are thrown as they are. */
  readonly expected?: readonly string[];
}

/**
 * Requests to one bucket: repeated until the deadline when the store is away or busy, then an ObjectStoreError that says
 * what to do next. What the fence throws, and the reason of an aborted signal, are thrown as they are.
 */
export class S3Requests {
  readonly bucket: string;
  readonly deadlineMs: number;
  private readonly client: S3Client;

  constructor(private readonly settings: StorageSettings) {
    this.bucket = settings.bucket;
    this.deadlineMs = settings.deadlineMs;
    this.client = new S3Client({
      endpoint: settings.endpoint,
      region: settings.region,
      credentials: { accessKeyId: settings.accessKey, secretAccessKey: settings.secretKey },
      // By path: a store of one's own seldom has a host name for each bucket.
      forcePathStyle: true,
      // With growing pauses, for about as long as a store takes to come back; the deadline is what ends them.
      maxAttempts: 10,
      // What is read is compared with a checksum of ours, and a part of an object has none of the store's.
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: {
        connectionTimeout: Math.min(5_000, settings.deadlineMs),
        // So that a request that was swallowed can be tried once more.
        requestTimeout: settings.deadlineMs / 2,
        throwOnRequestTimeout: true,
      },
    });
  }

  async send<Input extends ServiceInputTypes, Output extends ServiceOutputTypes>(
    command: $Command<Input, Output, S3ClientResolvedConfig, ServiceInputTypes, ServiceOutputTypes>,
    { to, fence, signal, expected = [] }: How,
  ): Promise<Output> {
    signal?.throwIfAborted();
    let fenced: { readonly error: unknown } | undefined;
    if (fence)
      command.middlewareStack.add(
        (next) => (args) => {
          try {
            fence();
          } catch (error) {
            fenced = { error };
            throw error;
          }
          return next(args);
        },
        { step: 'finalizeRequest', priority: 'low' }, // behind what repeats: asked before each try
      );
    // Ended with the answer, unlike a timeout signal: what follows it of an object may take hours.
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), this.deadlineMs);
    try {
      const abortSignal = signal ? AbortSignal.any([signal, late.signal]) : late.signal;
      return await this.client.send(command, { abortSignal });
    } catch (error) {
      if (fenced) throw fenced.error;
      signal?.throwIfAborted();
      if (error instanceof Error && expected.includes(error.name)) throw error;
      throw this.explained(error, to, late.signal.aborted);
    } finally {
      clearTimeout(timer);
    }
  }

  close(): void {
    this.client.destroy();
  }

  private explained(error: unknown, to: string, late: boolean): ObjectStoreError {
    const { endpoint, region } = this.settings;
    const fault = error as { name?: string; message?: string; code?: string; $metadata?: { httpStatusCode?: number } };
    const status = fault.$metadata?.httpStatusCode;
    const tell = (what: string, retryable = false) =>
      new ObjectStoreError(`cannot ${to}: ${what}`, retryable, { cause: error });
    switch (fault.name) {
      case 'NoSuchBucket':
        return tell(`the bucket ${this.bucket} is not there; make it, or correct MESH_S3_BUCKET`);
      case 'InvalidAccessKeyId':
      case 'SignatureDoesNotMatch':
        return tell(
          `the object store at ${endpoint} does not accept our keys; correct MESH_S3_ACCESS_KEY and MESH_S3_SECRET_KEY`,
        );
      case 'RequestTimeTooSkewed':
        return tell('the clocks of this machine and of the object store differ too much; set them right', true);
      case 'AuthorizationHeaderMalformed':
      case 'PermanentRedirect':
      case 'IllegalLocationConstraintException':
        return tell(`the bucket ${this.bucket} is not in ${region}; correct MESH_S3_REGION`);
    }
    const said = `${fault.name}: ${fault.message}`;
    if (status === 403)
      return tell(
        `the object store refused it (${said}); see that the keys are right and may do this in the bucket ${this.bucket}`,
      );
    if (/object lock/i.test(fault.message ?? ''))
      return tell(`${said}; make the bucket ${this.bucket} anew with object lock, or set MESH_S3_OBJECT_LOCK=none`);
    if (status === 501)
      return tell(`${said}; the object store cannot do that, see MESH_S3_ENCRYPTION and MESH_S3_OBJECT_LOCK`);
    if (late)
      return tell(
        `the object store at ${endpoint} gave no answer within ${this.deadlineMs / 1000} s; see that it runs`,
        true,
      );
    if (status === undefined)
      return tell(
        `the object store at ${endpoint} cannot be reached (${fault.code ?? said}); see that it runs, and MESH_S3_ENDPOINT`,
        true,
      );
    if (status >= 500 || status === 429)
      return tell(`the object store at ${endpoint} is busy or broken (${status} ${said}); see its log`, true);
    return tell(`the object store answered ${status} ${said}`);
  }
}
