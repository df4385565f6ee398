import type { z } from 'zod';
import type { Caller, Right } from '../domain/access.js';
import type { ProblemCode } from './problem.js';

/**
 * One call of the API, said once: from this come its address, who may make it, what is let in, the promise of what comes
 * out (checked by the compiler), and its page in the OpenAPI document.
 */
export interface Route {
  /** Its `operationId` in the OpenAPI document: generated clients call their method so. */
  readonly id: string;
  readonly method: 'get' | 'post' | 'delete';
  /** `/v1/instances/{instanceId}` */
  readonly path: string;
  /** What it does, in a sentence without a full stop. */
  readonly summary: string;
  readonly description?: string;
  readonly right: Right;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly headers?: z.ZodObject;
  readonly body?: z.ZodObject;
  readonly status: 200 | 202 | 201 | 204;
  /** Undefined: no body. */
  readonly answer?: z.ZodType;
  /** Headers of the answer beyond those that all have. */
  readonly answerHeaders?: Readonly<Record<string, string>>;
  /** It writes a stream of server-sent events itself. */
  readonly stream?: true;
  /** Those that every call can meet go without saying. */
  readonly problems: readonly ProblemCode[];
}

type Out<Schema> = Schema extends z.ZodType ? z.output<Schema> : Record<never, never>;

/** What a call brought, read by the schemas of its route. */
export interface Call<R extends Route> {
  readonly params: Out<R['params']>;
  readonly query: Out<R['query']>;
  readonly headers: Out<R['headers']>;
  readonly body: Out<R['body']>;
  readonly caller: Caller;
  /** The caller's trace, when it sent a usable one. */
  readonly traceparent: string | undefined;
  readonly setHeader: (name: string, value: string) => void;
  /** Whether the key is believed still; for calls that last. */
  readonly stillAllowed: () => Promise<boolean>;
}

/** Where the decorator leaves the route on the method. */
export const routeKey = 'mesh:route';

/** The route that a method of a controller serves. */
export function routeOf(method: object): Route | undefined {
  return Reflect.getMetadata(routeKey, method);
}

/** All routes of these controllers, by path and method. */
export function routesOf(controllers: readonly { readonly prototype: object }[]): Route[] {
  return controllers
    .flatMap(({ prototype }) => Object.getOwnPropertyNames(prototype).map((name) => Reflect.get(prototype, name)))
    .map((method) => (typeof method === 'function' ? routeOf(method) : undefined))
    .filter((route) => route !== undefined)
    .sort((a, b) => (`${a.path} ${a.method}` < `${b.path} ${b.method}` ? -1 : 1));
}
