/**
 * The same at another host, as a `Location`: by whatever scheme and port it was asked, and with its path and query as they
 * were asked. Whatever was asked, it leads to this host and nowhere else.
 * @param host a name that was looked up, never one that was asked for. @param asked the header `Host`.
 * @param target of the request line.
 */
export function newAddress(host: string, asked: string | undefined, target: string | undefined): string {
  const [port = ''] = /:\d{1,5}$/.exec(asked ?? '') ?? [];
  return `//${host}${port}${pathOf(target)}`;
}

/** Begins with one slash. What is no path, an address for a proxy or an asterisk, stands for the first page. */
function pathOf(target = '/'): string {
  const path = /^[/\\]+(.*)$/s.exec(target)?.[1];
  return path !== undefined && /^[\x21-\x7e]*$/.test(path) ? `/${path}` : '/';
}
