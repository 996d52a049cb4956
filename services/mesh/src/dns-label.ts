const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** What keeps a name from being one label of a DNS name (RFC 1123), for people; undefined if nothing does. */
export function dnsLabelProblem(name: string): string | undefined {
  if (LABEL.test(name)) return undefined;
  const shown = name === "" ? "nothing" : `"${name.slice(0, 80)}"`;
  return `${shown} cannot be a host name; use 1 to 63 lower-case letters, digits and inner hyphens.`;
}
