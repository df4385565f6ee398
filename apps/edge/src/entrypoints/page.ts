import { createHash } from 'node:crypto';
import type { Notice } from '../domain/notice.js';

const style = `
:root { color-scheme: light dark; }
body { margin: 0; font: 1.125rem/1.6 system-ui, sans-serif; background: Canvas; color: CanvasText; }
main { box-sizing: border-box; max-width: 36rem; margin: 0 auto; padding: 15vh 1.5rem 2rem; }
h1 { font-size: 1.75rem; line-height: 1.25; }
`;

/** For the policy that allows this style and nothing else. */
export const styleHash = `sha256-${createHash('sha256').update(style).digest('base64')}`;

/** A whole page that loads nothing, and itself again where waiting helps. */
export function page({ title, detail, next, retryAfter }: Notice): string {
  const refresh = retryAfter === undefined ? '' : `\n<meta http-equiv="refresh" content="${retryAfter}">`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">${refresh}
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<h1>${escaped(title)}</h1>
<p>${escaped(detail)}</p>
<p>${escaped(next)}</p>
</main>
</body>
</html>
`;
}

/** RFC 9457, as the API has it. */
export function problem({ code, status, title, detail, next }: Notice): string {
  return JSON.stringify({ type: `urn:odoo-mesh:problem:${code}`, status, title, detail, code, next });
}

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
