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
} as const;

/** One of the fields above. */
export type FieldKind = (typeof Field)[keyof typeof Field];

const byName = new Map<string, FieldKind>([
  ["host", Field.HOST],
  ["connection", Field.CONNECTION],
  ["content-length", Field.CONTENT_LENGTH],
  ["transfer-encoding", Field.TRANSFER_ENCODING],
  ["expect", Field.EXPECT],
  ["upgrade", Field.UPGRADE],
  ["keep-alive", Field.KEEP_ALIVE],
  ["te", Field.HOP_BY_HOP],
  ["trailer", Field.HOP_BY_HOP],
  ["proxy-connection", Field.HOP_BY_HOP],
  ["proxy-authenticate", Field.HOP_BY_HOP],
  ["proxy-authorization", Field.PROXY_AUTHORIZATION],
  ["x-forwarded-for", Field.X_FORWARDED_FOR],
  ["x-forwarded-proto", Field.X_FORWARDED_PROTO],
  ["x-forwarded-host", Field.X_FORWARDED_HOST],
  ["x-request-id", Field.X_REQUEST_ID],
  ["traceparent", Field.TRACEPARENT],
  ["tracestate", Field.TRACESTATE],
  ["date", Field.DATE],
]);

// Most names are ruled out by their length and first letter (one bit each), without a lower-case copy.
const initials = new Uint32Array(64);
for (const name of byName.keys())
  initials[name.length] = (initials[name.length] ?? 0) | (1 << (name.charCodeAt(0) & 31));

/** Whether a field of this length and first letter (its character code) could be one that the proxy treats. */
export function mayBeTreated(length: number, firstCode: number): boolean {
  return length < 64 && (((initials[length] as number) >>> (firstCode & 31)) & 1) === 1;
}

/** Says what a field is, in any case of its letters. */
export function fieldKind(name: string): FieldKind {
  if (!mayBeTreated(name.length, name.charCodeAt(0))) return Field.OTHER;
  return byName.get(name) ?? byName.get(name.toLowerCase()) ?? Field.OTHER;
}

/** The lower-case members of a comma-separated list. */
export function listMembers(value: string): string[] {
  return value
    .toLowerCase()
    .split(",")
    .map((member) => member.trim())
    .filter((member) => member !== "");
}
