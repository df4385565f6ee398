import { z } from 'zod';

/**
 * Any character but those that end a line or a string somewhere: control characters and Unicode's line separators; and
 * no half of a character, which no database takes. Spelt out, because Python's `re` does not know `\p{Cc}` and the
 * published schemas are for everybody.
 */
const printable = z
  .string()
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is kept out
  .regex(/^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$/, 'holds a control character')
  .refine((value) => value.isWellFormed(), 'holds half a character (a lone surrogate)');

/** Text a person wrote. */
export const text = (max: number) => printable.min(1).max(max);

/** The same, but whether it says anything is for somebody else to judge. */
export const anyText = (max: number) => printable.max(max);

/** A name that a machine gave: no blanks. */
export const word = (max: number) => z.string().regex(new RegExp(`^[!-~]{1,${max}}$`));

/** In lower case from here on, however it was sent: `A` and `a` are the same id. */
export const uuid = z.uuid().toLowerCase();
export const instanceId = uuid;
export const footprintId = uuid;
export const customerId = text(64);
export const time = z.iso.datetime();

/** Who has to do something about it: whoever asked, the mesh's operator, or somebody the platform buys from. */
export const fault = z.enum(['user', 'platform', 'provider']);

export const plan = z.object({ name: word(64), version: z.int().positive() });

/** A frozen database and its files, from which instances are made: one for each image, bundle and language. */
export const template = z.object({
  image: word(256),
  /** Odoo's version, for instance `18.0`. */
  version: word(16),
  bundle: word(64),
  language: word(16),
  database: word(63),
});

/** Names of its customer's own at which an instance is found beside its host. */
export const customDomains = <Name extends z.ZodType>(name: Name) => z.array(name).max(10);

/** Why something waits, in words for a person, and since when. */
export const condition = z.object({ reason: word(64), message: z.string().max(2_000), since: time, fault });

/** A new footprint, a running spare, or one that was made before (a clone, a restore). */
export const claim = z.enum(['new', 'spare', 'footprint']);

/** What a footprint is made for, other than a new instance. */
export const purpose = z.enum(['spare', 'restore', 'clone', 'move', 'rebuild', 'proof']);

/** Milliseconds per step. */
export const timings = z.record(word(64), z.number().nonnegative());

export const ofInstance = (data: { readonly instanceId: string }) => data.instanceId;
