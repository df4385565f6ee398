import { expect, test } from '@jest/globals';
import type { ConsumeMessage } from 'amqplib';
import { Acknowledger } from './acknowledger.js';

function acknowledger({ usable = true } = {}) {
  const said: string[] = [];
  const channel = {
    ack: ({ fields }: ConsumeMessage, upTo = false) => void said.push(`${upTo ? 'up to ' : ''}${fields.deliveryTag}`),
  };
  const one = new Acknowledger(channel, () => usable);
  const message = (tag: number) => ({ fields: { deliveryTag: tag } }) as ConsumeMessage;
  return {
    said,
    took: (...tags: number[]) => {
      for (const tag of tags) one.took(message(tag));
    },
    finished: (...tags: number[]) => {
      for (const tag of tags) one.finished(message(tag));
    },
    flush: () => one.flush(),
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('what ends in one turn is acknowledged in one word', async () => {
  const { took, finished, said } = acknowledger();
  took(1, 2, 3);
  finished(3, 1, 2);
  expect(said).toEqual([]);
  await turn();
  expect(said).toEqual(['up to 3']);
});

test('nothing that is still open is acknowledged with what came after it', async () => {
  const { took, finished, said } = acknowledger();
  took(1, 2, 3, 4, 5);
  finished(1, 2, 4, 5);
  await turn();
  expect(said).toEqual(['up to 2', '4', '5']);
  finished(3);
  await turn();
  expect(said).toEqual(['up to 2', '4', '5', 'up to 3']);
});

test('before the channel is closed the rest goes at once, and nothing goes twice', async () => {
  const { took, finished, said, flush } = acknowledger();
  took(1, 2);
  finished(1, 2);
  flush();
  expect(said).toEqual(['up to 2']);
  flush();
  await turn();
  expect(said).toEqual(['up to 2']);
});

test('on a channel that is gone nothing is said', async () => {
  const { took, finished, said } = acknowledger({ usable: false });
  took(1);
  finished(1);
  await turn();
  expect(said).toEqual([]);
});
