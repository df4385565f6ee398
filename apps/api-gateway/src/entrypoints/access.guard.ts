import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { ApiKeys } from '../application/ports.js';
import { type Caller, may } from '../domain/access.js';
import { Problem } from './problem.js';
import { RateLimit } from './rate-limit.js';
import { routeOf } from './route.js';

interface HttpRequest {
  readonly ip?: string;
  readonly headers: { readonly authorization?: string };
  caller?: Caller;
  stillAllowed?: () => Promise<boolean>;
}

/** `Authorization: Bearer <key>`: the key is believed, has calls left and the right that the route takes. */
@Injectable()
export class AccessGuard implements CanActivate {
  constructor(
    private readonly keys: ApiKeys,
    private readonly limit: RateLimit,
  ) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<HttpRequest>();
    const bearer = /^Bearer (\S{1,256})$/i.exec(request.headers.authorization ?? '')?.[1];
    const caller = bearer && (await this.keys.callerOf(bearer));
    // Known keys have their own share, so that whoever guesses takes nothing from them.
    const { allowed, headers } = await this.limit.take(caller ? `key ${caller.keyId}` : `address ${request.ip}`);
    const response = context.switchToHttp().getResponse<{ setHeader(name: string, value: string): void }>();
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (!allowed) throw new Problem('too-many-requests');
    if (!caller) throw new Problem('no-key');
    const { right } = routeOf(context.getHandler())!;
    if (!may(caller, right)) {
      const scope = right.scope === 'platform' ? ', and no binding to one customer' : '';
      throw new Problem('not-allowed', `It takes the role ${right.role} or a higher one${scope}.`);
    }
    request.caller = caller;
    request.stillAllowed = async () => (await this.keys.callerOf(bearer)) !== undefined;
    return true;
  }
}
