import { Field, type FieldKind, fieldKind, fieldKindOfBytes, listMembers } from "./field-name.ts";
import { latin1 } from "./latin1.ts";

/** A response head as far as the proxy has to know it; one object is reused for all responses of a connection. */
export class ResponseHead {
  status = 0;
  /** "200 OK" */
  statusText = "";
  /** The fields that are forwarded, each with its line end; Content-Length is among them if it counts. */
  lines = "";
  contentLength = -1;
  chunked = false;
  keepAlive = true;
  /** What the server said with `Keep-Alive: timeout=`, or -1. */
  keepAliveTimeoutMs = -1;
  /** The protocol of an Upgrade field, or "". */
  upgrade = "";
  hasDate = false;
  /** The members of Connection so far. */
  connection = "";
}

/** The head is not complete yet. */
export const INCOMPLETE = -1;
/** The head is not HTTP/1. */
export const MALFORMED = -2;

// 3: token character, 2: other character of a value (RFC 9110 §5.5, with obs-text), 0: neither.
const CLASS = new Uint8Array(256).fill(2, 32).fill(2, 9, 10).fill(0, 127, 128);
const TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
for (const letter of TOKEN) CLASS[letter.charCodeAt(0)] = 3;

const CR = 13;
const LF = 10;
const SPACE = 32;
const COLON = 58;
const ZERO = 48;
const STATUS_LINE_START = "HTTP/1.";

/**
 * Parses one response head and answers with the position after its empty line, INCOMPLETE or MALFORMED.
 * Strict: no bare line feeds, no folded lines, no space before a colon, one Content-Length.
 */
export function parseResponseHead(bytes: Buffer, span: { start: number; end: number }, head: ResponseHead): number {
  const { end } = span;
  let position = parseStatusLine(bytes, span, head);
  // Lines from here on are forwarded as they are; a dropped line ends the run.
  let runStart = position;
  while (position >= 0) {
    if (bytes[position] === CR) return completeHead(bytes, { runStart, position, end }, head);
    const lineStart = position;
    const nameEnd = skipName(bytes, position, end);
    if (nameEnd < 0) return nameEnd;
    position = skipLineEnd(bytes, skipText(bytes, nameEnd + 1, end), end);
    if (position < 0) return position;
    const kind = fieldKindOfBytes(bytes, lineStart, nameEnd);
    if (kind === Field.OTHER) continue;
    const verdict = noteField(head, kind, latin1(bytes, nameEnd + 1, position - 2));
    if (verdict === FORWARD) continue;
    if (verdict === REFUSE) return MALFORMED;
    if (runStart < lineStart) head.lines += latin1(bytes, runStart, lineStart);
    runStart = position;
  }
  return position;
}

function skipName(bytes: Buffer, start: number, end: number): number {
  let position = start;
  while (position < end && CLASS[bytes[position] as number] === 3) position++;
  if (position === end) return INCOMPLETE;
  return bytes[position] === COLON && position > start ? position : MALFORMED;
}

function skipText(bytes: Buffer, start: number, end: number): number {
  let position = start;
  while (position < end && CLASS[bytes[position] as number] !== 0) position++;
  return position;
}

function skipLineEnd(bytes: Buffer, position: number, end: number): number {
  if (position >= end) return INCOMPLETE;
  if (bytes[position] !== CR) return MALFORMED;
  if (position + 1 >= end) return INCOMPLETE;
  return bytes[position + 1] === LF ? position + 2 : MALFORMED;
}

function parseStatusLine(bytes: Buffer, { start, end }: { start: number; end: number }, head: ResponseHead): number {
  for (let i = 0; i < STATUS_LINE_START.length; i++) {
    if (start + i >= end) return INCOMPLETE;
    if (bytes[start + i] !== STATUS_LINE_START.charCodeAt(i)) return MALFORMED;
  }
  const textEnd = skipText(bytes, start + STATUS_LINE_START.length, end);
  const next = skipLineEnd(bytes, textEnd, end);
  if (next < 0) return next;
  const minor = (bytes[start + 7] as number) - ZERO;
  const status = statusCode(bytes, start + 8, textEnd);
  if (status < 0 || (minor !== 0 && minor !== 1)) return MALFORMED;
  head.status = status;
  head.statusText = latin1(bytes, start + 9, textEnd);
  head.lines = "";
  head.contentLength = -1;
  head.chunked = false;
  head.keepAlive = minor === 1;
  head.keepAliveTimeoutMs = -1;
  head.upgrade = "";
  head.hasDate = false;
  head.connection = "";
  return next;
}

/** The number after a space, 100 to 999, if a space or nothing follows it; otherwise -1. */
function statusCode(bytes: Buffer, start: number, end: number): number {
  if (end - start < 4 || bytes[start] !== SPACE) return -1;
  if (end - start > 4 && bytes[start + 4] !== SPACE) return -1;
  let status = 0;
  for (let i = start + 1; i < start + 4; i++) {
    const digit = (bytes[i] as number) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    status = status * 10 + digit;
  }
  return status < 100 ? -1 : status;
}

function completeHead(
  bytes: Buffer,
  { runStart, position, end }: { runStart: number; position: number; end: number },
  head: ResponseHead,
): number {
  const next = skipLineEnd(bytes, position, end);
  if (next < 0) return next;
  if (runStart < position) head.lines += latin1(bytes, runStart, position);
  if (head.connection !== "") applyConnection(head);
  if (head.chunked && head.contentLength >= 0) {
    // Two framings: the chunks count, and the connection is not trusted with another response (RFC 9112 §6.3).
    head.lines = withoutLines(head.lines, ["content-length"]);
    head.contentLength = -1;
    head.keepAlive = false;
  }
  return next;
}

const FORWARD = 0;
const DROP = 1;
const REFUSE = 2;

function noteField(head: ResponseHead, kind: FieldKind, text: string): number {
  const value = text.trim();
  switch (kind) {
    case Field.CONTENT_LENGTH:
      return noteContentLength(head, value);
    case Field.CONNECTION:
      head.connection = head.connection === "" ? value : `${head.connection},${value}`;
      return DROP;
    case Field.DATE:
      head.hasDate = true;
      return FORWARD;
    default:
      return noteHopByHop(head, kind, value);
  }
}

function noteHopByHop(head: ResponseHead, kind: FieldKind, value: string): number {
  switch (kind) {
    case Field.TRANSFER_ENCODING:
      // Only "chunked" can be undone here; other codings would reach the client without their name.
      if (value.toLowerCase() !== "chunked" || head.chunked) return REFUSE;
      head.chunked = true;
      return DROP;
    case Field.KEEP_ALIVE: {
      const seconds = /(?:^|[\s,])timeout\s*=\s*"?(\d{1,9})/i.exec(value)?.[1];
      if (seconds !== undefined) head.keepAliveTimeoutMs = Number(seconds) * 1000;
      return DROP;
    }
    case Field.UPGRADE:
      head.upgrade = value;
      return DROP;
    case Field.HOP_BY_HOP:
    case Field.X_REQUEST_ID:
      return DROP;
    default:
      return FORWARD;
  }
}

function noteContentLength(head: ResponseHead, value: string): number {
  const length = decimal(value);
  if (length < 0) return REFUSE;
  if (head.contentLength >= 0) return head.contentLength === length ? DROP : REFUSE;
  head.contentLength = length;
  return FORWARD;
}

/** The value of 1 to 15 digits, or -1. */
function decimal(text: string): number {
  if (text.length === 0 || text.length > 15) return -1;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

function applyConnection(head: ResponseHead): void {
  if (head.connection === "keep-alive") {
    head.keepAlive = true;
    return;
  }
  const members = listMembers(head.connection);
  if (members.includes("close")) head.keepAlive = false;
  else if (members.includes("keep-alive")) head.keepAlive = true;
  const named = members.filter((member) => fieldKind(member) === Field.OTHER && member !== "close");
  if (named.length > 0) head.lines = withoutLines(head.lines, named);
}

function withoutLines(lines: string, names: readonly string[]): string {
  return lines
    .split("\r\n")
    .filter((line) => !names.includes(line.slice(0, Math.max(line.indexOf(":"), 0)).toLowerCase()))
    .join("\r\n");
}
