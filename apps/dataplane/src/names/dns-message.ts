/** What a query asks (RFC 1035 §4). */
export interface DnsQuery {
  id: number;
  recursionDesired: boolean;
  /** The labels of the name in lower case; bytes beyond ASCII become "\u0080" to "\u00ff". */
  labels: readonly string[];
  type: number;
  class: number;
  /** The question as it came, letter case included: answers repeat it. */
  question: Buffer;
  /** The version of EDNS (RFC 6891); undefined if the query has none. */
  edns: number | undefined;
}

/** What a packet is: a query, nothing that deserves an answer, or a mistake that is answered by its code. */
export type ReadQuery = { query: DnsQuery } | { ignore: true } | { id: number; code: number };

/** Codes of RFC 1035 and RFC 6891. */
export const ResponseCode = {
  NO_ERROR: 0,
  FORMAT_ERROR: 1,
  SERVER_FAILURE: 2,
  NAME_ERROR: 3,
  NOT_IMPLEMENTED: 4,
  BAD_VERSION: 16,
} as const;

/** Types and classes that are told apart. */
export const RecordType = { A: 1, SOA: 6, OPT: 41, ANY: 255 } as const;
export const CLASS_IN = 1;

const HEADER_BYTES = 12;
const LONGEST_NAME = 255;
const RESPONSE_BIT = 0x8000;
const OPCODE_BITS = 0x7800;
const RECURSION_DESIRED = 0x0100;
const RECURSION_AVAILABLE = 0x0080;
const AUTHORITATIVE = 0x0400;
/** What fits into one packet on every network (DNS flag day 2020). */
const OUR_UDP_SIZE = 1232;
const POINTER_TO_QUESTION = 0xc00c;

/** Reads a packet; never throws, whatever is in it. */
export function readQuery(packet: Buffer): ReadQuery {
  if (packet.length < HEADER_BYTES) return { ignore: true };
  const id = packet.readUInt16BE(0);
  const flags = packet.readUInt16BE(2);
  if (flags & RESPONSE_BIT) return { ignore: true };
  if (flags & OPCODE_BITS) return { id, code: ResponseCode.NOT_IMPLEMENTED };
  if (packet.readUInt16BE(4) !== 1) return { id, code: ResponseCode.FORMAT_ERROR };
  const name = readName(packet);
  if (name === undefined || packet.length < name.end + 4) return { id, code: ResponseCode.FORMAT_ERROR };
  const end = name.end + 4;
  const query = {
    id,
    recursionDesired: (flags & RECURSION_DESIRED) !== 0,
    labels: name.labels,
    type: packet.readUInt16BE(name.end),
    class: packet.readUInt16BE(name.end + 2),
    question: packet.subarray(HEADER_BYTES, end),
    edns: readEdns(packet, end),
  };
  return { query };
}

/** The first name of a packet cannot point anywhere: nothing comes before it. */
function readName(packet: Buffer): { labels: string[]; end: number } | undefined {
  const labels: string[] = [];
  let position = HEADER_BYTES;
  for (;;) {
    const length = packet[position];
    if (length === undefined || length > 63) return undefined;
    position += 1;
    if (length === 0) return { labels, end: position };
    if (position + length > packet.length || position + length - HEADER_BYTES >= LONGEST_NAME) return undefined;
    labels.push(packet.toString("latin1", position, position + length).toLowerCase());
    position += length;
  }
}

/** Only an OPT record right behind the question is looked for; that is where every resolver puts it. */
function readEdns(packet: Buffer, start: number): number | undefined {
  const hasOnlyAdditional = packet.readUInt16BE(6) === 0 && packet.readUInt16BE(8) === 0;
  if (!hasOnlyAdditional || packet.readUInt16BE(10) === 0 || packet.length < start + 11) return undefined;
  if (packet[start] !== 0 || packet.readUInt16BE(start + 1) !== RecordType.OPT) return undefined;
  return packet[start + 6];
}

/** What an answer says beside repeating the question. */
export interface DnsAnswer {
  code: number;
  /** An IPv4 address, with its time to live in seconds. */
  address?: { address: string; ttl: number } | undefined;
  /** A record of the zone `mesh` itself, for the answer or, where there is none, for the authority section. */
  soa?: "answer" | "authority" | undefined;
}

/** An answer to a query; with authority if it says what there is, or that there is nothing. */
export function writeAnswer(query: DnsQuery, { code, address, soa }: DnsAnswer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const knows = code === ResponseCode.NO_ERROR || code === ResponseCode.NAME_ERROR;
  const flags =
    RESPONSE_BIT |
    RECURSION_AVAILABLE |
    (knows ? AUTHORITATIVE : 0) |
    (query.recursionDesired ? RECURSION_DESIRED : 0) |
    (code & 15);
  header.writeUInt16BE(query.id, 0);
  header.writeUInt16BE(flags, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE((address ? 1 : 0) + (soa === "answer" ? 1 : 0), 6);
  header.writeUInt16BE(soa === "authority" ? 1 : 0, 8);
  header.writeUInt16BE(query.edns === undefined ? 0 : 1, 10);
  const records: Buffer[] = [];
  if (address) records.push(addressRecord(address.address, address.ttl));
  if (soa) records.push(ZONE_RECORD);
  if (query.edns !== undefined) records.push(ednsRecord(code >> 4));
  return Buffer.concat([header, query.question, ...records]);
}

/** An answer to a packet whose question cannot be repeated. */
export function writeFailure(id: number, code: number): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(RESPONSE_BIT | code, 2);
  return header;
}

function addressRecord(address: string, ttl: number): Buffer {
  const record = Buffer.alloc(16);
  record.writeUInt16BE(POINTER_TO_QUESTION, 0);
  record.writeUInt16BE(RecordType.A, 2);
  record.writeUInt16BE(CLASS_IN, 4);
  record.writeUInt32BE(ttl, 6);
  record.writeUInt16BE(4, 10);
  record.set(address.split(".").map(Number), 12);
  return record;
}

function ednsRecord(extendedCode: number): Buffer {
  const record = Buffer.alloc(11);
  record.writeUInt16BE(RecordType.OPT, 1);
  record.writeUInt16BE(OUR_UDP_SIZE, 3);
  record[5] = extendedCode;
  return record;
}

/** Serial, refresh, retry, expire, and how long an absence may be remembered: one second, because names come quickly. */
const ZONE_NUMBERS = [1, 60, 60, 60, 1];
const ZONE_RECORD = zoneRecord();

function zoneRecord(): Buffer {
  const zone = Buffer.from("\u0004mesh\0", "latin1");
  const content = Buffer.concat([zone, Buffer.from("\u000ahostmaster", "latin1"), zone, numbers(ZONE_NUMBERS)]);
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(RecordType.SOA, 0);
  fixed.writeUInt16BE(CLASS_IN, 2);
  fixed.writeUInt32BE(1, 4);
  fixed.writeUInt16BE(content.length, 8);
  return Buffer.concat([zone, fixed, content]);
}

function numbers(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [position, value] of values.entries()) bytes.writeUInt32BE(value, position * 4);
  return bytes;
}

/** A message as TCP carries it: its length first (RFC 1035 §4.2.2). */
export function withLength(message: Buffer): Buffer {
  const framed = Buffer.allocUnsafe(2 + message.length);
  framed.writeUInt16BE(message.length, 0);
  message.copy(framed, 2);
  return framed;
}
