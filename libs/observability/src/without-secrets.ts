/**
 * What may leave the process in log lines and spans. A value under a name that promises a secret is never shown, and
 * text loses what looks like one: a password in an address, a hash or a verifier, a token.
 */

const secretName = /(password|passwd|passwordhash|secret|token|authorization|apikey|privatekey|cookie|credentials?)$/i;
const shown = '[secret]';

const secretTexts: readonly (readonly [RegExp, string])[] = [
  // scheme://user:password@host
  [/\b([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/"']+@/gi, `$1${shown}@`],
  [/\$pbkdf2-[a-z0-9]+\$[^\s"',;]+/g, shown],
  [/SCRAM-SHA-256\$[^\s"',;]+/g, shown],
  [/\b(authorization: *\w+ +|bearer +)[\w.~+/=-]{8,}/gi, `$1${shown}`],
  [/\b((?:access_?token|token|secret|api_?key)=)[^\s"'&]+/gi, `$1${shown}`],
  // PASSWORD '…' in SQL, password=… in connection strings
  [/\b(password +)'(?:[^']|'')*'/gi, `$1'${shown}'`],
  [/\b((?:password|passwd|pwd)["']? *[=:] *)("[^"]*"|'[^']*'|[^\s"',;&]+)/gi, `$1${shown}`],
];

const deepest = 8;
const longestText = 8_000;
const mostItems = 100;

/** The text without what looks like a secret, cut at 8,000 characters. */
export function textWithoutSecrets(text: string): string {
  const cut = text.length > longestText ? `${text.slice(0, longestText)}… (${text.length - longestText} more)` : text;
  return secretTexts.reduce((rest, [pattern, instead]) => rest.replace(pattern, instead), cut);
}

/** A copy that can be written as JSON, without secrets, whatever `value` is: never throws, ends on a circle. */
export function withoutSecrets(value: unknown): unknown {
  try {
    return copy(value, 0);
  } catch (error) {
    return `[cannot be shown: ${error instanceof Error ? textWithoutSecrets(error.message) : 'it throws'}]`;
  }
}

function copy(value: unknown, depth: number): unknown {
  if (typeof value === 'string') return textWithoutSecrets(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth === deepest) return '[deeper]';
  if (value instanceof Error) return copyOfError(value, depth);
  if (value instanceof Uint8Array) return `[${value.byteLength} bytes]`;
  if (value instanceof Map) return copy(Object.fromEntries(value), depth);
  if (value instanceof Set) return copy([...value], depth);
  if (Array.isArray(value)) {
    const items = value.slice(0, mostItems).map((item) => copy(item, depth + 1));
    return value.length > mostItems ? [...items, `… (${value.length - mostItems} more)`] : items;
  }
  if ('toJSON' in value && typeof value.toJSON === 'function') return copy(value.toJSON(), depth + 1);
  return Object.fromEntries(
    Object.entries(value).map(([name, field]) => [
      name,
      isSecret(name) && field !== null && field !== undefined ? shown : copy(field, depth + 1),
    ]),
  );
}

function isSecret(name: string): boolean {
  return secretName.test(name.replace(/[-_]/g, ''));
}

/** Name, message, code and stack, and whatever caused it. Nothing else: drivers hang whole requests on their errors. */
function copyOfError(error: Error, depth: number): Record<string, unknown> {
  const { name, message, stack, cause } = error;
  const { code } = error as { readonly code?: unknown };
  // Several in one: what a refused connection to a host with two addresses is.
  const errors = error instanceof AggregateError ? error.errors : undefined;
  return {
    name,
    message: textWithoutSecrets(message),
    ...(code !== undefined && { code: copy(code, depth + 1) }),
    ...(errors && { errors: copy(errors, depth + 1) }),
    ...(cause !== undefined && { cause: copy(cause, depth + 1) }),
    ...(stack && { stack: textWithoutSecrets(stack) }),
  };
}
