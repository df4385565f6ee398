import { Writable } from 'node:stream';
import { expect, test } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { Log } from './log.js';
import { nestLog } from './nest-log.js';

function listening(level = 'debug') {
  const lines: Record<string, unknown>[] = [];
  const destination = new Writable({
    write(chunk, _, done) {
      lines.push(JSON.parse(String(chunk)));
      done();
    },
  });
  return { lines, log: new Log({ service: 'planner', level, destination }) };
}

test('a line is one JSON object: level, time, service, a constant message and its fields', () => {
  const { lines, log } = listening();
  log.info('instance placed', { instanceId: 'i1', cell: 'c0' });
  expect(lines).toEqual([
    {
      level: 'info',
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      service: 'planner',
      msg: 'instance placed',
      instanceId: 'i1',
      cell: 'c0',
    },
  ]);
});

test('secrets do not get in, neither by a field nor by the message', () => {
  const { lines, log } = listening();
  log.warn('cannot reach amqp://mesh:hunter2@broker', {
    data: { specification: { adminPasswordHash: '$pbkdf2-sha512$600000$salt$sum' } },
    url: 'postgres://mesh:hunter2@db',
    error: new Error('password=hunter2'),
  });
  expect(JSON.stringify(lines)).not.toMatch(/hunter2|pbkdf2/);
  expect(lines[0]).toMatchObject({ msg: 'cannot reach amqp://[secret]@broker', url: 'postgres://[secret]@db' });
});

test('below the level nothing is written, nor looked at', () => {
  const { lines, log } = listening('warn');
  log.info('not written', {
    get costly() {
      throw new Error('was looked at');
    },
  });
  expect(lines).toEqual([]);
});

test('fields that cannot be read cost the fields, not the line', () => {
  const { lines, log } = listening();
  log.error('still said', {
    get broken() {
      throw new Error('no');
    },
  });
  expect(lines[0]).toMatchObject({ msg: 'still said', fields: '[cannot be shown: no]' });
});

test("Nest's own lines: where they come from, errors with their stack, news of its start only for who debugs", () => {
  const { lines, log } = listening();
  const error = new Error('broken password=hunter2');
  Logger.overrideLogger(nestLog(log));
  try {
    const nest = new Logger('Router');
    nest.log('Mapped {/readyz, GET} route');
    nest.warn('careful');
    nest.error('it failed');
    nest.error('it failed here', error.stack);
    nest.error(error);
    nest.fatal({ strange: 'object' });
  } finally {
    Logger.overrideLogger(false);
  }
  expect(lines).toMatchObject([
    { level: 'debug', msg: 'Mapped {/readyz, GET} route', context: 'Router' },
    { level: 'warn', msg: 'careful', context: 'Router' },
    { level: 'error', msg: 'it failed', context: 'Router' },
    { level: 'error', msg: 'it failed here', context: 'Router', stack: expect.stringContaining('log.spec') },
    { level: 'error', msg: 'error in Nest', context: 'Router', error: { stack: expect.stringContaining('log.spec') } },
    { level: 'error', msg: 'line of Nest', context: 'Router', said: { strange: 'object' } },
  ]);
  expect(JSON.stringify(lines)).not.toContain('hunter2');
});
