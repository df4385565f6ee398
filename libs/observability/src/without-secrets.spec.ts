import { describe, expect, test } from '@jest/globals';
import { textWithoutSecrets, withoutSecrets } from './without-secrets.js';

test.each([
  'password',
  'adminPassword',
  'adminPasswordHash',
  'PGPASSWORD',
  'token',
  'accessToken',
  'Authorization',
  'proxy-authorization',
  'secret',
  'client_secret',
  'apiKey',
  'x-api-key',
  'set-cookie',
  'credentials',
])('nothing is shown under the name %s, however deep it stands', (name) => {
  expect(withoutSecrets({ [name]: 'hunter2' })).toEqual({ [name]: '[secret]' });
  expect(withoutSecrets({ a: [{ b: { [name]: { user: 'u', value: 'hunter2' } } }] })).toEqual({
    a: [{ b: { [name]: '[secret]' } }],
  });
});

test('that there is no secret may be seen', () => {
  expect(withoutSecrets({ adminPasswordHash: null })).toEqual({ adminPasswordHash: null });
});

test.each(['secretVersion', 'tokens left', 'passwordPolicy', 'step', 'key'])('%s is no secret', (name) => {
  expect(withoutSecrets({ [name]: 'shown' })).toEqual({ [name]: 'shown' });
});

const hash = `$pbkdf2-sha512$600000$F6ucuf7n8H8b8fVAMB4shw$${'a'.repeat(86)}`;

describe.each([
  ['an address', 'connect to amqp://mesh:hunter2@127.0.0.1:5672/v failed', 'amqp://[secret]@127.0.0.1:5672/v'],
  ['an address whose password has an @', 'postgres://mesh:hunt@er2@db/mesh', 'postgres://[secret]@db/mesh'],
  ['a hash', `the hash ${hash} is too old`, 'the hash [secret] is too old'],
  ['SQL', `CREATE ROLE x PASSWORD 'it''s hunter2' LOGIN`, `CREATE ROLE x PASSWORD '[secret]' LOGIN`],
  ['a verifier', 'SCRAM-SHA-256$4096:salt$stored:server', '[secret]'],
  ['a connection string', 'host=db password=hunter2 user=mesh', 'host=db password=[secret] user=mesh'],
  ['JSON', '{"password": "hunter2", "user": "u"}', '{"password": [secret], "user": "u"}'],
  ['a header', 'Authorization: Basic bWVzaDpodW50ZXIy', 'Authorization: Basic [secret]'],
  ['a bearer', 'sent Bearer abcdefghijklmnop', 'sent Bearer [secret]'],
  ['a query', 'GET /x?token=abcdef&a=1', 'GET /x?token=[secret]&a=1'],
])('%s', (_, text, expected) => {
  test('loses its secret as a text', () => {
    expect(textWithoutSecrets(text)).toContain(expected);
    expect(textWithoutSecrets(text)).not.toMatch(/hunter2|abcdef|aaaa|stored/);
  });

  test('and in a field, an item, an error, its cause and what it is one of', () => {
    const error = new AggregateError([new Error(text)], text, { cause: new Error(text) });
    const copied = JSON.stringify(withoutSecrets({ field: text, items: [text], error, url: { toJSON: () => text } }));
    expect(copied).not.toMatch(/hunter2|abcdef|aaaa|stored/);
  });
});

test.each([
  'password authentication failed for user "mesh"',
  'see https://mesh.example/docs or mail ops@mesh.example',
  'the bearer of bad news',
])('%s stays as it is', (text) => {
  expect(textWithoutSecrets(text)).toBe(text);
});

test('an error is its name, message, code, stack and causes, and nothing a driver hung on it', () => {
  const cause = Object.assign(new TypeError('inner'), { code: 'ECONNREFUSED' });
  const error = Object.assign(new Error('outer', { cause }), { parameters: ['hunter2'] });
  expect(withoutSecrets(error)).toEqual({
    name: 'Error',
    message: 'outer',
    stack: expect.stringContaining('without-secrets.spec'),
    cause: { name: 'TypeError', message: 'inner', code: 'ECONNREFUSED', stack: expect.any(String) },
  });
});

test('a refused connection to a host with two addresses shows both', () => {
  const error = new AggregateError([new Error('refused ::1'), new Error('refused 127.0.0.1')]);
  expect(withoutSecrets({ error })).toMatchObject({
    error: { errors: [{ message: 'refused ::1' }, { message: 'refused 127.0.0.1' }] },
  });
});

test('whatever it is, it can be written', () => {
  const circle: Record<string, unknown> = { name: 'circle' };
  circle.self = circle;
  const awkward = {
    circle,
    big: 10n,
    when: new Date(0),
    bytes: Buffer.from('hunter2'),
    map: new Map([['password', 'hunter2']]),
    set: new Set([1]),
    many: Array.from({ length: 1_000 }, (_, i) => i),
    long: 'x'.repeat(100_000),
  };
  const written = JSON.stringify(withoutSecrets(awkward));
  expect(written.length).toBeLessThan(20_000);
  expect(written).not.toContain('hunter2');
  expect(JSON.parse(written)).toMatchObject({
    big: '10',
    when: '1970-01-01T00:00:00.000Z',
    bytes: '[7 bytes]',
    map: { password: '[secret]' },
    set: [1],
  });
});

test('a field that throws when it is read costs the fields, not the program', () => {
  const fields = Object.defineProperty({}, 'broken', {
    enumerable: true,
    get: () => {
      throw new Error('no password=hunter2 here');
    },
  });
  expect(withoutSecrets(fields)).toBe('[cannot be shown: no password=[secret] here]');
});
