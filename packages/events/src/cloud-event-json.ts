import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { type CloudEvent, cloudEventProblems, invalidEvents } from "./cloud-event.ts";

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** One event in the JSON Event Format for CloudEvents 1.0; the value is ready for JSON.stringify. */
export function cloudEventToJson(event: CloudEvent): Record<string, unknown> {
  const { data, ...attributes } = event;
  if (data === undefined || data === null) return attributes;
  if (!(data instanceof Uint8Array)) return { ...attributes, data };
  return { ...attributes, data_base64: Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64") };
}

/** An event from a value of the JSON Event Format. @throws HmsError INVALID_ARGUMENT with every problem. */
export function cloudEventFromJson(value: unknown): CloudEvent {
  const { event, problems } = readEvent(value);
  if (problems.length > 0) throw invalidEvents(problems);
  return event;
}

/** Events from a value of the JSON Batch Format. @throws HmsError INVALID_ARGUMENT with every problem of every event. */
export function cloudEventsFromJson(value: unknown): CloudEvent[] {
  if (!Array.isArray(value)) {
    throw new HmsError("INVALID_ARGUMENT", "A batch of CloudEvents is a JSON array.", { reason: "INVALID_EVENT" });
  }
  const read = value.map(readEvent);
  const problems = read.flatMap((entry, index) =>
    entry.problems.map(({ field, description }) => ({ field: `[${index}].${field}`, description })),
  );
  if (problems.length > 0) throw invalidEvents(problems);
  return read.map(({ event }) => event);
}

function readEvent(value: unknown): { event: CloudEvent; problems: FieldViolation[] } {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { event: {} as CloudEvent, problems: cloudEventProblems(value) };
  }
  const { data_base64: base64, ...members } = value as Record<string, unknown>;
  // The format lets null stand for what is absent.
  const present = Object.fromEntries(Object.entries(members).filter(([, member]) => member !== null));
  const problems = cloudEventProblems(present);
  const event = present as unknown as CloudEvent;
  if (base64 === undefined || base64 === null) return { event, problems };
  if (present.data !== undefined) {
    return { event, problems: [...problems, { field: "data", description: "and data_base64 exclude each other." }] };
  }
  if (typeof base64 !== "string" || !BASE64.test(base64)) {
    return { event, problems: [...problems, { field: "data_base64", description: "is not base64 (RFC 4648)." }] };
  }
  return { event: { ...event, data: new Uint8Array(Buffer.from(base64, "base64")) }, problems };
}
