/** Header fields that the proxy itself treats; everything else passes untouched. */
export const Field = {
  OTHER: 0,
  HOST: 1,
  CONNECTION: 2,
  CONTENT_LENGTH: 3,
  TRANSFER_ENCODING: 4,
  EXPECT: 5,
  UPGRADE: 6,
  KEEP_ALIVE: 7,
  /** TE, Trailer, Proxy-Connection, Proxy-Authenticate: never forwarded. */
  HOP_BY_HOP: 8,
  PROXY_AUTHORIZATION: 9,
  X_FORWARDED_FOR: 10,
  X_FORWARDED_PROTO: 11,
  X_FORWARDED_HOST: 12,
  X_REQUEST_ID: 13,
  TRACEPARENT: 14,
  TRACESTATE: 15,
  DATE: 16,
  AUTHORIZATION: 17,
} as const;

/** One of the fields above. */
export type FieldKind = (typeof Field)[keyof typeof Field];

const TREATED: readonly [string, FieldKind][] = [
  ["Host", Field.HOST],
  ["Connection", Field.CONNECTION],
  ["Content-Length", Field.CONTENT_LENGTH],
  ["Transfer-Encoding", Field.TRANSFER_ENCODING],
  ["Expect", Field.EXPECT],
  ["Upgrade", Field.UPGRADE],
  ["Keep-Alive", Field.KEEP_ALIVE],
  ["TE", Field.HOP_BY_HOP],
  ["Trailer", Field.HOP_BY_HOP],
  ["Proxy-Connection", Field.HOP_BY_HOP],
  ["Proxy-Authenticate", Field.HOP_BY_HOP],
  ["Proxy-Authorization", Field.PROXY_AUTHORIZATION],
  ["X-Forwarded-For", Field.X_FORWARDED_FOR],
  ["X-Forwarded-Proto", Field.X_FORWARDED_PROTO],
  ["X-Forwarded-Host", Field.X_FORWARDED_HOST],
  ["X-Request-ID", Field.X_REQUEST_ID],
  ["Traceparent", Field.TRACEPARENT],
  ["Tracestate", Field.TRACESTATE],
  ["Date", Field.DATE],
  ["Authorization", Field.AUTHORIZATION],
];

/** A treated field: its lower-case letters as codes, and what it is. */
interface Treated {
  codes: Uint8Array;
  kind: FieldKind;
}

// Names arrive as fresh strings or bytes; comparing letters is cheaper than hashing them for a map.
const LONGEST = 19;
const byLength: readonly (readonly Treated[])[] = Array.from({ length: LONGEST + 1 }, (_, length) =>
  TREATED.filter(([name]) => name.length === length).map(([name, kind]) => ({
    codes: Uint8Array.from(Buffer.from(name.toLowerCase())),
    kind,
  })),
);

/** Says what a field is, in any case of its letters. */
export function fieldKind(name: string): FieldKind {
  const { length } = name;
  if (length > LONGEST) return Field.OTHER;
  for (const { codes, kind } of byLength[length] as readonly Treated[]) {
    let i = 0;
    // Setting bit 5 makes a letter lower-case and leaves a hyphen alone; no other character of a token becomes either.
    while (i < length && (name.charCodeAt(i) | 32) === codes[i]) i++;
    if (i === length) return kind;
  }
  return Field.OTHER;
}

/** Says what the field is whose name stands in these bytes; they are known to be a token. */
export function fieldKindOfBytes(bytes: Uint8Array, start: number, end: number): FieldKind {
  const length = end - start;
  if (length > LONGEST) return Field.OTHER;
  for (const { codes, kind } of byLength[length] as readonly Treated[]) {
    let i = 0;
    while (i < length && ((bytes[start + i] as number) | 32) === codes[i]) i++;
    if (i === length) return kind;
  }
  return Field.OTHER;
}

/** Whether a name is read as one of the fields above by programs that take "_" for "-" (CGI, RFC 3875 §4.1.18), or several for one. */
export function isLookAlike(name: string): boolean {
  if (!name.includes("_") && !name.includes("--")) return false;
  return fieldKind(name.replace(/[-_]+/g, "-")) !== Field.OTHER;
}

/** The lower-case members of a comma-separated list. */
export function listMembers(value: string): string[] {
  return value
    .toLowerCase()
    .split(",")
    .map((member) => member.trim())
    .filter((member) => member !== "");
}
