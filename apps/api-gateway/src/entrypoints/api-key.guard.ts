import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { ApiKeys } from '../application/ports.js';
import { Problem } from './problem.js';

/** `Authorization: Bearer <key>`. */
@Injectable()
export class ApiKeyGuard implements CanActivate {
  constructor(private readonly keys: ApiKeys) {}

  canActivate(context: ExecutionContext): boolean {
    const { authorization } = context
      .switchToHttp()
      .getRequest<{ headers: Record<string, string | undefined> }>().headers;
    const bearer = /^Bearer (\S{1,256})$/i.exec(authorization ?? '')?.[1];
    if (bearer && this.keys.isKnown(bearer)) return true;
    throw new Problem(401, 'no-key', 'A key is needed', 'Send the header Authorization: Bearer <key>.');
  }
}
