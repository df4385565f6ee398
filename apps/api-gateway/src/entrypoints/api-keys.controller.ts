import { Controller } from '@nestjs/common';
import { z } from 'zod';
import { KeyEnded, ManageApiKeys } from '../application/manage-api-keys.js';
import { roles } from '../domain/access.js';
import { Problem } from './problem.js';
import { withoutReuse } from './repeats.js';
import type { Call } from './route.js';
import { Serves } from './serves.js';
import { ApiKey, NewApiKey, Repeatable, Wish } from './shapes.js';

const right = { role: 'admin', scope: 'platform' } as const;
const params = z.strictObject({ id: z.uuid() });

const List = {
  id: 'listApiKeys',
  method: 'get',
  path: '/v1/api-keys',
  summary: 'All keys, newest first, those too that have ended',
  right,
  status: 200,
  answer: z.strictObject({ items: z.array(ApiKey) }),
  problems: [],
} as const;

const Create = {
  id: 'createApiKey',
  method: 'post',
  path: '/v1/api-keys',
  summary: 'Makes a key and answers it this once',
  right,
  headers: Repeatable,
  body: z.strictObject({
    name: z
      .string()
      .regex(/^[ -~]{1,100}$/)
      .describe('What it is for.'),
    role: z.enum(roles),
    customerId: Wish.shape.customerId
      .optional()
      .describe('Binds it to this customer. Left out: it is for all of them.'),
    days: z.int().min(1).max(3650).optional().describe('How long it is believed. Left out: until it is ended.'),
  }),
  status: 201,
  answer: NewApiKey,
  answerHeaders: { Location: 'Of the key.' },
  problems: ['bad-request', 'body-too-large', 'unsupported-media-type', 'idempotency-key-reused'],
} as const;

const One = {
  id: 'getApiKey',
  method: 'get',
  path: '/v1/api-keys/{id}',
  summary: 'One key, without itself',
  right,
  params,
  status: 200,
  answer: ApiKey,
  problems: ['unknown-key'],
} as const;

const Rotate = {
  id: 'rotateApiKey',
  method: 'post',
  path: '/v1/api-keys/{id}/rotate',
  summary: 'Makes a key with the same rights in place of this one',
  right,
  params,
  headers: Repeatable,
  body: z.strictObject({
    overlapMinutes: z.int().min(0).max(43_200).default(60).describe('How long the old one is still believed.'),
  }),
  status: 201,
  answer: NewApiKey,
  answerHeaders: { Location: 'Of the new key.' },
  problems: [
    ...(['bad-request', 'unknown-key', 'key-ended', 'body-too-large', 'unsupported-media-type'] as const),
    'idempotency-key-reused',
  ],
} as const;

const Revoke = {
  id: 'revokeApiKey',
  method: 'delete',
  path: '/v1/api-keys/{id}',
  summary: 'Ends a key at once',
  description: 'May be repeated. Its row stays, so that it is known what it was.',
  right,
  params,
  status: 204,
  problems: ['unknown-key'],
} as const;

@Controller()
export class ApiKeysController {
  constructor(private readonly keys: ManageApiKeys) {}

  @Serves(List)
  async list(_: Call<typeof List>) {
    return { items: await this.keys.all() };
  }

  @Serves(Create)
  async create({ body, headers, caller, setHeader }: Call<typeof Create>) {
    const made = await withoutReuse(this.keys.create(body, { caller: caller.keyId, key: headers['idempotency-key'] }));
    setHeader('Location', `/v1/api-keys/${made.id}`);
    return made;
  }

  @Serves(One)
  async one({ params }: Call<typeof One>) {
    return known(await this.keys.get(params.id));
  }

  @Serves(Rotate)
  async rotate({ params, body, headers, caller, setHeader }: Call<typeof Rotate>) {
    try {
      const repeatable = { caller: caller.keyId, key: headers['idempotency-key'] };
      const made = known(await withoutReuse(this.keys.rotate(params.id, body.overlapMinutes, repeatable)));
      setHeader('Location', `/v1/api-keys/${made.id}`);
      return made;
    } catch (error) {
      if (error instanceof KeyEnded) throw new Problem('key-ended');
      throw error;
    }
  }

  @Serves(Revoke)
  async revoke({ params, caller }: Call<typeof Revoke>) {
    known(await this.keys.revoke(params.id, caller.keyId));
  }
}

function known<Key>(key: Key | undefined): Key {
  if (key === undefined) throw new Problem('unknown-key');
  return key;
}
