import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampFromDate } from "@bufbuild/protobuf/wkt";
import { integrationEvents } from "@hms/contracts";
import type { CloudEvent } from "@hms/events";
import { type FieldViolation, HmsError, type Principal, principalName } from "@hms/kernel";
import { v7 } from "../uuid.ts";

type Event = integrationEvents.Event;

const JSON_TYPE = "application/json";

/** Attributes that have a field of their own, or that the platform sets. */
const RESERVED = new Set(
  "specversion id source type subject time datacontenttype dataschema data partitionkey traceparent tracestate".split(
    " ",
  ),
);

/** Where and by whom an event is published. */
export interface Publication {
  topic: string;
  environment: string;
  principal: Principal;
  /** W3C trace context of the call that publishes it. */
  traceparent: string | undefined;
}

function problemsOf({ type, extensions }: Event, { topic }: Publication, field: string): FieldViolation[] {
  const problems: FieldViolation[] = [];
  if (type !== "" && type !== topic) {
    problems.push({ field: `${field}.type`, description: `is "${type}", but the type is the topic; leave it out.` });
  }
  for (const name of Object.keys(extensions)) {
    if (!RESERVED.has(name) && !name.startsWith("hms")) continue;
    const description = "is not free: it has a field of its own, or the platform sets it.";
    problems.push({ field: `${field}.extensions["${name}"]`, description });
  }
  return problems;
}

/** Who publishes cannot be chosen: with the id it names the event, and nobody names another's. */
function sourceOf({ source }: Event, { principal }: Publication): string {
  const own = principalName(principal);
  return source === "" ? own : `${own}/${encodeURI(source)}`;
}

function cloudEventOf(event: Event, publication: Publication): CloudEvent {
  const { topic, environment, traceparent } = publication;
  const optional = {
    subject: event.subject || undefined,
    dataschema: event.dataSchema || undefined,
    partitionkey: event.key || undefined,
    traceparent,
  };
  return {
    ...event.extensions,
    specversion: "1.0",
    id: event.id || v7(),
    source: sourceOf(event, publication),
    type: topic,
    time: (event.time ? timestampDate(event.time) : new Date()).toISOString(),
    datacontenttype: event.dataContentType || JSON_TYPE,
    hmsenvironment: environment,
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
    ...(event.data.length === 0 ? {} : { data: event.data }),
  };
}

/**
 * The events of a request as CloudEvents, completed.
 * @throws HmsError INVALID_ARGUMENT with every problem of every event
 */
export function readEvents(events: readonly Event[], publication: Publication): CloudEvent[] {
  const problems = events.flatMap((event, index) => problemsOf(event, publication, `events[${index}]`));
  if (problems.length === 0) return events.map((event) => cloudEventOf(event, publication));
  const list = problems.map(({ field, description }) => `${field} ${description}`).join(" ");
  throw new HmsError("INVALID_ARGUMENT", `The events cannot be published. ${list}`, { fieldViolations: problems });
}

/** A CloudEvent as subscribers get it; `bytes` is its data as it was published. */
export function eventMessage(event: CloudEvent, bytes: Uint8Array | undefined): Event {
  const {
    id,
    source,
    type,
    subject = "",
    time,
    datacontenttype = JSON_TYPE,
    dataschema = "",
    partitionkey = "",
  } = event;
  const extensions = Object.entries(event).filter(([name]) => name === "traceparent" || !RESERVED.has(name));
  return create(integrationEvents.EventSchema, {
    id,
    source,
    type,
    subject,
    dataContentType: datacontenttype,
    dataSchema: dataschema,
    key: partitionkey,
    ...(time === undefined ? {} : { time: timestampFromDate(new Date(time)) }),
    ...(bytes === undefined ? {} : { data: bytes }),
    extensions: Object.fromEntries(
      extensions.filter(([name]) => !name.startsWith("hms")).map(([name, value]) => [name, String(value)]),
    ),
  });
}
