/** A request target in pieces. */
export interface RequestTarget {
  /** Host and port of an absolute form, or null. */
  authority: string | null;
  /** Path and query, as sent. */
  target: string;
  path: string;
}

const ABSOLUTE = /^http:\/\/([^/?#@\\]+)([/?][^#]*)?$/i;

/** Takes origin form and absolute form (RFC 9112 §3.2); null for anything else. */
export function parseRequestTarget(url: string): RequestTarget | null {
  if (url.charCodeAt(0) === 47) return { authority: null, target: url, path: pathOf(url) };
  if (url === "*") return { authority: null, target: url, path: url };
  const parts = ABSOLUTE.exec(url);
  if (!parts) return null;
  const rest = parts[2] ?? "/";
  const target = rest.startsWith("/") ? rest : `/${rest}`;
  return { authority: parts[1] as string, target, path: pathOf(target) };
}

function pathOf(target: string): string {
  const query = target.indexOf("?");
  return query < 0 ? target : target.slice(0, query);
}

const DOT_SEGMENT = /\/(?:\.|%2e){1,2}(?:\/|$)/i;

/** Whether a path climbs: "." or ".." as a segment, also percent-encoded. Such a path could reach past its route. */
export function hasDotSegments(path: string): boolean {
  return (path.includes("/.") || path.includes("%")) && DOT_SEGMENT.test(path);
}

/** Host name (lower case, without the brackets of an IPv6 address) and port of an authority; null if it is none. */
export function splitAuthority(authority: string): { host: string; port: number | null } | null {
  const parts = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/i.exec(authority);
  if (!parts) return null;
  const port = parts[3] === undefined ? null : Number(parts[3]);
  if (port !== null && (port < 1 || port > 65_535)) return null;
  return { host: (parts[1] ?? parts[2] ?? "").toLowerCase(), port };
}
