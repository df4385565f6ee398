import { createHash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { sha1Of } from '../domain/stored-file.js';

/** The content is not what its name says. */
export class NotItsName extends Error {
  override name = 'NotItsName';

  constructor(
    readonly file: string,
    found: string,
  ) {
    super(`the SHA-1 of ${file} is ${found}`);
  }
}

/** Lets a content through and ends in NotItsName when its SHA-1 is another than its name says: who reads it gets no end. */
export class NamedContent extends Transform {
  private readonly hash = createHash('sha1');

  constructor(private readonly file: string) {
    super();
  }

  override _transform(chunk: Buffer, _: BufferEncoding, done: TransformCallback): void {
    this.hash.update(chunk);
    done(null, chunk);
  }

  override _flush(done: TransformCallback): void {
    const found = this.hash.digest('hex');
    done(found === sha1Of(this.file) ? null : new NotItsName(this.file, found));
  }
}
