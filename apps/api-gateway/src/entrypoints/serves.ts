import {
  applyDecorators,
  createParamDecorator,
  type ExecutionContext,
  HttpCode,
  RequestMapping,
  RequestMethod,
  Res,
  SetMetadata,
  UseGuards,
} from '@nestjs/common';
import type { z } from 'zod';
import { spanContextOf } from '#observability/index.js';
import type { Caller } from '../domain/access.js';
import { AccessGuard } from './access.guard.js';
import { Problem } from './problem.js';
import { read } from './read.js';
import { type Call, type Route, routeKey } from './route.js';

type Answer<R extends Route> = R['stream'] extends true
  ? unknown
  : R['answer'] extends z.ZodType
    ? z.input<R['answer']>
    : unknown;
type Handler<R extends Route> = (call: Call<R>, ...stream: never[]) => Promise<Answer<R>>;

interface HttpRequest {
  readonly params: unknown;
  readonly query: unknown;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: unknown;
  readonly caller: Caller;
  readonly stillAllowed: () => Promise<boolean>;
  /** False: it has a body, and of another type. */
  is(type: string): string | false | null;
}

/** For a method of a controller: it gets a Call, and behind it the response when the route is a stream. */
export function Serves<const R extends Route>(route: R) {
  const methods = { get: RequestMethod.GET, post: RequestMethod.POST, delete: RequestMethod.DELETE };
  const path = route.path.replaceAll(/\{(\w+)\}/g, ':$1');
  const serve = applyDecorators(
    RequestMapping({ path, method: methods[route.method] }),
    HttpCode(route.status),
    SetMetadata(routeKey, route),
    UseGuards(AccessGuard),
  );
  const call = createParamDecorator((_: unknown, context: ExecutionContext) => callOf(route, context));
  return <H extends Handler<R>>(controller: object, name: string, method: TypedPropertyDescriptor<H>): void => {
    serve(controller, name, method);
    call()(controller, name, 0);
    if (route.stream) Res()(controller, name, 1);
  };
}

function callOf(route: Route, context: ExecutionContext): Call<Route> {
  const request = context.switchToHttp().getRequest<HttpRequest>();
  const response = context.switchToHttp().getResponse<{ setHeader(name: string, value: string): void }>();
  const { traceparent } = request.headers;
  if (route.body && request.is('application/json') === false) throw new Problem('unsupported-media-type');
  return {
    params: route.params ? read(route.params, request.params) : {},
    query: route.query ? read(route.query, request.query) : {},
    headers: route.headers ? read(route.headers, request.headers) : {},
    body: route.body ? read(route.body, request.body ?? {}) : {},
    caller: request.caller,
    traceparent: spanContextOf(traceparent) && traceparent,
    stillAllowed: request.stillAllowed,
    setHeader: (name, value) => response.setHeader(name, value),
  };
}
