import { Socket } from 'node:net';

/**
 * For a connection to PostgreSQL. pg has no limit that also gives the connection up: a query on one whose other end is
 * gone (half-open) would wait for ever, and its successors behind it. Then they fail with ETIMEDOUT.
 */
export function thatEndsWhenSilentFor(ms: number): Socket {
  const socket = new Socket();
  socket.setTimeout(ms, () => {
    const silent = new Error(`the database server was silent for ${ms} ms`);
    socket.destroy(Object.assign(silent, { code: 'ETIMEDOUT' }));
  });
  return socket;
}
