import { registry } from '#contracts/index.js';
import type { Database } from '#persistence/index.js';

const keepDays = 7;
const batch = 1_000;

/** Requests end; instances, cells and hosts go on, and of them it is always to be known what was heard last. */
const typesAboutRequests = registry
  .filter((one) => one.kind === 'fact' && one.subject === 'request')
  .map((one) => one.type);

/**
 * What is old enough to be forgotten, so that the tables stay as large as a week is: messages handled, answers given,
 * counters of subjects of which nothing is said any more (the next one begins with the clock, which is far beyond), and
 * what was heard about requests. What comes again after that is a replay by a person: a fact is known by its sequence,
 * a request by its row. The outbox needs no pruning: what the broker has confirmed is deleted at once.
 */
const statements: readonly { readonly sql: string; readonly types?: readonly string[] }[] = [
  {
    sql: `WITH old AS MATERIALIZED (
     SELECT source, message_id FROM inbox WHERE handled_at < now() - $1 * interval '1 day'
     ORDER BY handled_at LIMIT $2 FOR UPDATE SKIP LOCKED)
   DELETE FROM inbox USING old WHERE (inbox.source, inbox.message_id) = (old.source, old.message_id)
   RETURNING 1`,
  },
  {
    sql: `WITH old AS MATERIALIZED (
     SELECT request_id, message_id FROM answer WHERE said_at < now() - $1 * interval '1 day'
     ORDER BY said_at LIMIT $2 FOR UPDATE SKIP LOCKED)
   DELETE FROM answer USING old WHERE (answer.request_id, answer.message_id) = (old.request_id, old.message_id)
   RETURNING 1`,
  },
  {
    sql: `WITH old AS MATERIALIZED (
     SELECT subject FROM said WHERE sequence < (extract(epoch FROM now() - $1 * interval '1 day') * 1000)::bigint
     LIMIT $2 FOR UPDATE SKIP LOCKED)
   DELETE FROM said USING old WHERE said.subject = old.subject
   RETURNING 1`,
  },
  {
    sql: `WITH old AS MATERIALIZED (
     SELECT source, subject, type FROM heard
     WHERE type = ANY($3) AND sequence < (extract(epoch FROM now() - $1 * interval '1 day') * 1000)::bigint
     LIMIT $2 FOR UPDATE SKIP LOCKED)
   DELETE FROM heard USING old
   WHERE (heard.source, heard.subject, heard.type) = (old.source, old.subject, old.type)
   RETURNING 1`,
    types: typesAboutRequests,
  },
];

/** In small batches, each committed by itself. @returns how many rows went. */
export async function prune(database: Pick<Database, 'query'>): Promise<number> {
  let all = 0;
  for (const { sql, types } of statements) {
    const parameters = [keepDays, batch, ...(types ? [types] : [])];
    let gone: number;
    do {
      gone = (await database.query(sql, parameters)).length;
      all += gone;
    } while (gone === batch);
  }
  return all;
}
