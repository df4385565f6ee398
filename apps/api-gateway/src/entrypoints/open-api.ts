import { z } from 'zod';
import type { Role } from '../domain/access.js';
import { type ProblemCode, problems } from './problem.js';
import type { Route } from './route.js';
import { ProblemBody } from './shapes.js';

type Json = Record<string, unknown>;

const notes = `Every call takes a key (\`Authorization: Bearer …\`) with a role: viewer, operator or admin, each with the
rights of those before it. A key can be bound to one customer: then it sees this customer's instances alone, and nothing
of the platform.

Answers to GET carry an ETag; with \`If-None-Match\` an unchanged one is 304. Every answer carries \`X-Request-Id\` (yours,
when you sent a UUID) and the limits of your key in \`RateLimit\` and \`RateLimit-Policy\`. What goes wrong is a problem by
RFC 9457 with a \`code\`, whose \`fault\` it is, and what to do \`next\`.`;

/** For whoever serves it. */
export class ApiDocument {
  constructor(readonly json: Json) {}
}

/** What every call can answer. */
const always: readonly ProblemCode[] = ['no-key', 'not-allowed', 'too-many-requests', 'internal'];

/** The OpenAPI 3.1 document of these routes; the same each time. */
export function openApi(routes: readonly Route[]): Json {
  const components: Record<string, Json> = {};
  const schema = (of: z.ZodType, io: 'input' | 'output') => hoisted(jsonSchema(of, io), components);
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    paths[route.path]![route.method] = operation(route, schema);
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Odoo Mesh', version: '1', description: notes.replaceAll('\n', ' ').replaceAll('  ', '\n\n') },
    servers: [{ url: '/' }],
    security: [{ key: [] }],
    tags: [...new Set(routes.map(tagOf))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: { key: { type: 'http', scheme: 'bearer' } },
      schemas: Object.fromEntries(Object.entries(components).sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

const tagOf = (route: Route) => route.path.split('/')[2]!;

const takes: Readonly<Record<Role, string>> = { viewer: 'viewer', operator: 'operator', admin: 'admin' };

function operation(route: Route, schema: (of: z.ZodType, io: 'input' | 'output') => Json): Json {
  const { id, summary, description, right, status } = route;
  const scope = right.scope === 'platform' ? ', and not be bound to one customer' : '';
  const codes = [...new Set([...route.problems, ...(readsInput(route) ? (['invalid'] as const) : []), ...always])];
  const conditional: Json[] =
    route.method === 'get' && !route.stream
      ? [{ name: 'If-None-Match', in: 'header', required: false, schema: { type: 'string' } }]
      : [];
  return {
    operationId: id,
    tags: [tagOf(route)],
    summary,
    description: [description, `The key must have the role ${takes[right.role]}${scope}.`].filter(Boolean).join('\n\n'),
    parameters: [
      ...parameters('path', route.params, schema),
      ...parameters('query', route.query, schema),
      ...parameters('header', route.headers, schema),
      ...conditional,
    ],
    ...(route.body && {
      requestBody: { required: true, content: { 'application/json': { schema: schema(route.body, 'input') } } },
    }),
    responses: {
      [status]: {
        description: route.answer ? 'As asked for.' : 'Done.',
        headers: headersOf(route),
        ...(route.answer && {
          content: {
            [route.stream ? 'text/event-stream' : 'application/json']: { schema: schema(route.answer, 'output') },
          },
        }),
      },
      ...(conditional.length > 0 && { 304: { description: 'Unchanged since the answer with this ETag.' } }),
      ...problemAnswers(codes, schema(ProblemBody, 'output')),
    },
  };
}

const readsInput = ({ params, query, headers, body }: Route) => Boolean(params || query || headers || body);

function parameters(
  where: 'path' | 'query' | 'header',
  of: z.ZodObject | undefined,
  schema: (of: z.ZodType, io: 'input' | 'output') => Json,
): Json[] {
  return Object.entries(of?.shape ?? {}).map(([name, field]) => {
    const { description, ...rest } = schema(field as z.ZodType, 'input');
    const required = where === 'path' || !(field as z.ZodType).safeParse(undefined).success;
    const shown = where === 'header' ? name.replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase()) : name;
    return { name: shown, in: where, required, ...(description ? { description } : {}), schema: rest };
  });
}

function headersOf(route: Route): Json {
  const described = {
    'X-Request-Id': 'The id of the request, for whoever has to find it.',
    ...(route.method === 'get' && !route.stream && { ETag: 'What `If-None-Match` takes.' }),
    ...route.answerHeaders,
  };
  return Object.fromEntries(
    Object.entries(described).map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
  );
}

/** One answer for each status, naming the codes that come with it. */
function problemAnswers(codes: readonly ProblemCode[], schema: Json): Json {
  const byStatus = Map.groupBy(codes, (code) => problems[code][0]);
  return Object.fromEntries(
    [...byStatus].map(([status, ofIt]) => [
      status,
      {
        description: ofIt.map((code) => `\`${code}\`: ${problems[code][1]}.`).join(' '),
        headers: status === 429 ? { 'Retry-After': { description: 'In seconds.', schema: { type: 'string' } } } : {},
        content: { 'application/problem+json': { schema } },
      },
    ]),
  );
}

function jsonSchema(of: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...schema } = z.toJSONSchema(of, {
    io,
    target: 'draft-2020-12',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema._zod.def.type === 'date') Object.assign(jsonSchema, { type: 'string', format: 'date-time' });
    },
  });
  return schema;
}

/** Schemas with a name of their own move to the document's components; whoever uses them points there. */
function hoisted(schema: Json, components: Record<string, Json>): Json {
  const moved = JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/')) as Json;
  const { $defs, ...rest } = moved;
  for (const [name, definition] of Object.entries(($defs ?? {}) as Record<string, Json>)) {
    const { id: _, ...content } = definition;
    components[name] ??= content;
  }
  const { id, ...content } = rest;
  if (typeof id !== 'string') return rest;
  components[id] ??= content;
  return { $ref: `#/components/schemas/${id}` };
}
