import type { TraceSpan } from './trace.js';

/**
 * A trace as a tree, a line for each span: when it began, what it was, whose, how long, and why it failed. A parent that
 * is not there is a caller's.
 */
export function traceTree(spans: readonly TraceSpan[]): string[] {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const below = Map.groupBy(spans, ({ parentId }) => (parentId && ids.has(parentId) ? parentId : ''));
  const begun = Math.min(...spans.map(({ startUs }) => startUs));
  const lines: (readonly [name: string, span: TraceSpan])[] = [];
  const add = (span: TraceSpan, lead: string, rest: string) => {
    lines.push([`${lead}${span.name}`, span]);
    const children = below.get(span.spanId) ?? [];
    for (const [i, child] of children.entries())
      i === children.length - 1 ? add(child, `${rest}└ `, `${rest}  `) : add(child, `${rest}├ `, `${rest}│ `);
  };
  for (const root of below.get('') ?? []) add(root, '', '');

  const width = Math.max(...lines.map(([name]) => name.length));
  const services = Math.max(...spans.map(({ service }) => service.length));
  return lines.map(([name, span]) =>
    [
      milliseconds(span.startUs - begun).padStart(9),
      name.padEnd(width),
      span.service.padEnd(services),
      milliseconds(span.durationUs).padStart(9),
      noteOf(span),
    ]
      .join('  ')
      .trimEnd(),
  );
}

function milliseconds(us: number): string {
  return us < 10_000 ? `${(us / 1_000).toFixed(1)} ms` : `${Math.round(us / 1_000)} ms`;
}

/** What tells spans of one name apart. */
function noteOf({ attributes, error }: TraceSpan): string {
  const key = attributes['messaging.rabbitmq.destination.routing_key'];
  const step = key === undefined ? undefined : attributes['mesh.step'];
  const attempt = Number(attributes['mesh.attempt'] ?? 1);
  return [
    key === undefined ? '' : String(key).replace(/\.v\d+$/, ''),
    step === undefined ? '' : String(step),
    attempt > 1 ? `attempt ${attempt}` : '',
    error === undefined ? '' : `✗ ${error}`,
  ]
    .filter((part) => part !== '')
    .join('  ');
}
