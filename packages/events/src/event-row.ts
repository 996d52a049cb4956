import { crc32 } from "node:zlib";
import type { FieldViolation } from "@hms/kernel/errors";
import { type CloudEvent, cloudEventProblems, isJsonType, isTextType } from "./cloud-event.ts";
import { isTopic } from "./topic.ts";

/** The most an event's data may hold; what is larger belongs in a store, with a reference in the event. */
const MOST_DATA_BYTES = 256 * 1024;
/** The most that attributes may hold: what names an event stands in indexes. */
const MOST_BYTES: Record<string, number> = { id: 256, source: 1024, partitionkey: 1024, hmsenvironment: 100 };
const MOST_ATTRIBUTE_BYTES = 64 * 1024;
/** Keys meet in this many slots; a group's shards divide them among themselves. */
const SLOTS = 1024;

/** An event as the outbox takes it. */
export interface OutboxRow {
  eventId: string;
  source: string;
  environment: string;
  topic: string;
  partitionKey: string | null;
  slot: number;
  /** JSON of all other attributes. */
  attributes: string;
  data: Uint8Array | null;
}

/** An event as the log gives it. */
export interface LogRow {
  position: number;
  logged_at: Date;
  environment: string;
  topic: string;
  source: string;
  event_id: string;
  partition_key: string | null;
  slot: number;
  attributes: Record<string, unknown>;
  data: Buffer | null;
}

function isJson(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return true;
  } catch {
    return false;
  }
}

function encodeData({ data, datacontenttype }: CloudEvent): Uint8Array | null | string {
  if (data === undefined || data === null) return null;
  if (isJsonType(datacontenttype)) {
    if (!(data instanceof Uint8Array)) return Buffer.from(JSON.stringify(data) ?? "null");
    return isJson(data) ? data : "is bytes that are no JSON, but its content type is: correct one of the two.";
  }
  if (data instanceof Uint8Array) return data;
  if (typeof data === "string" && isTextType(datacontenttype ?? "")) return Buffer.from(data);
  return `must be bytes${isTextType(datacontenttype ?? "") ? " or a string" : ""} for the content type ${datacontenttype}.`;
}

/** What an outbox asks beyond the specification. */
function outboxProblems(event: CloudEvent, data: Uint8Array | null | string): FieldViolation[] {
  const problems: FieldViolation[] = [];
  if (typeof event.type === "string" && !isTopic(event.type)) {
    const description = "is no topic: write parts of letters, digits, - and _ divided by dots, at most 255 characters.";
    problems.push({ field: "type", description });
  }
  if (typeof data === "string") problems.push({ field: "data", description: data });
  else if (data !== null && data.byteLength > MOST_DATA_BYTES) {
    const description = `has ${data.byteLength} bytes; the log takes ${MOST_DATA_BYTES}. Store it elsewhere and refer to it.`;
    problems.push({ field: "data", description });
  }
  for (const [field, most] of Object.entries(MOST_BYTES)) {
    const value = event[field];
    if (value !== undefined && typeof value !== "string") problems.push({ field, description: "is not a string." });
    else if (value && Buffer.byteLength(value) > most)
      problems.push({ field, description: `has more than ${most} bytes.` });
  }
  if (event.hmsposition !== undefined) problems.push({ field: "hmsposition", description: "is given by the log." });
  return problems;
}

/** An event as a row, and everything that keeps it from being published. */
export function toOutboxRow(event: CloudEvent): { row: OutboxRow; problems: FieldViolation[] } {
  const problems = cloudEventProblems(event);
  const encoded = problems.length > 0 ? null : encodeData(event);
  problems.push(...outboxProblems(event, encoded));
  const { specversion: _, id, source, type, data: __, partitionkey, hmsenvironment = "", ...others } = event;
  const attributes = JSON.stringify(others);
  if (attributes.length > MOST_ATTRIBUTE_BYTES) {
    problems.push({ field: "", description: `has more than ${MOST_ATTRIBUTE_BYTES} characters of attributes.` });
  }
  const row: OutboxRow = {
    eventId: id,
    source,
    environment: hmsenvironment,
    topic: type,
    partitionKey: partitionkey ?? null,
    // Events without a key spread over all slots.
    slot: crc32(`${hmsenvironment}\0${partitionkey ?? id}`) % SLOTS,
    attributes,
    data: typeof encoded === "string" ? null : encoded,
  };
  return { row, problems };
}

function decodeData(data: Buffer, contentType: string | undefined): unknown {
  if (isJsonType(contentType)) return JSON.parse(data.toString());
  return isTextType(contentType ?? "") ? data.toString() : data;
}

/** The event of a row, with its position. */
export function toCloudEvent(row: LogRow): CloudEvent {
  const event: Record<string, unknown> = {
    specversion: "1.0",
    id: row.event_id,
    source: row.source,
    type: row.topic,
    ...row.attributes,
    hmsposition: String(row.position),
  };
  if (row.partition_key !== null) event.partitionkey = row.partition_key;
  if (row.environment !== "") event.hmsenvironment = row.environment;
  if (row.data !== null) event.data = decodeData(row.data, event.datacontenttype as string | undefined);
  return event as unknown as CloudEvent;
}
