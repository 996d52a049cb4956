import { type FieldViolation, HmsError } from "@hms/kernel/errors";
import { isRfc3339 } from "./rfc3339.ts";

/**
 * A CloudEvent 1.0. Attributes are members; `data` is a Uint8Array, or for a JSON content type (the default) any JSON
 * value, or a string. Bytes of a JSON content type must be JSON; they are kept as they are.
 */
export interface CloudEvent {
  readonly specversion: "1.0";
  /** With `source` it names the event: published again, it is the same event. */
  readonly id: string;
  /** A URI reference that says who speaks, "/hms.sys.deployment". */
  readonly source: string;
  /** What happened; also the topic, "hms.sys.deployment.rollout.succeeded". */
  readonly type: string;
  readonly subject?: string;
  /** RFC 3339. */
  readonly time?: string;
  readonly datacontenttype?: string;
  /** A URI; that of contractId() for messages of a contract. */
  readonly dataschema?: string;
  readonly data?: unknown;
  /** Events of one key are delivered in their order to a group with ordering "key". */
  readonly partitionkey?: string;
  /** W3C trace context. */
  readonly traceparent?: string;
  /** The environment that the event belongs to; absent: the platform itself. */
  readonly hmsenvironment?: string;
  /** The event's place in the log, decimal; set by the log. */
  readonly hmsposition?: string;
  /** Extension attributes: strings, booleans, integers of 32 bits. */
  readonly [extension: string]: unknown;
}

type Check = (value: string) => string | undefined;

/** RFC 3986: unreserved, reserved and percent-encoded characters. */
const URI_CHARACTERS = /^(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})*$/;
const URI = /^[A-Za-z][A-Za-z0-9+.-]*:/;
/** RFC 2046: type/subtype with parameters. */
const MEDIA_TYPE =
  /^[\w!#$&^.+-]+\/[\w!#$&^.+*-]+(?:\s*;\s*[\w!#$&^.+-]+=(?:[\w!#$&'^.+*/:-]+|"(?:[^"\\]|\\.)*"))*\s*$/;
const NAME = /^[a-z0-9]+$/;
// Control characters and what Unicode calls non-characters.
const FORBIDDEN = /[\p{Cc}\p{Cs}\u{FDD0}-\u{FDEF}]|[\u{FFFE}\u{FFFF}]/u;

const filled: Check = (value) => (value === "" ? "is empty; leave it out instead, or say something." : undefined);
const uriReference: Check = (value) =>
  filled(value) ?? (URI_CHARACTERS.test(value) ? undefined : "is not a URI reference (RFC 3986).");
const uri: Check = (value) =>
  uriReference(value) ?? (URI.test(value) ? undefined : "is not a URI with a scheme (RFC 3986).");

const KNOWN: Record<string, Check> = {
  id: filled,
  source: uriReference,
  type: filled,
  subject: filled,
  dataschema: uri,
  datacontenttype: (value) => (MEDIA_TYPE.test(value) ? undefined : "is not a media type like text/plain (RFC 2046)."),
  time: (value) => (isRfc3339(value) ? undefined : "is not a time like 2026-01-31T12:00:00Z (RFC 3339)."),
};
const REQUIRED = ["specversion", "id", "source", "type"];

function extensionProblem(value: unknown): string | undefined {
  if (typeof value === "string") return FORBIDDEN.test(value) ? "holds control characters." : undefined;
  if (typeof value === "boolean") return undefined;
  if (typeof value === "number" && Number.isInteger(value) && (value | 0) === value) return undefined;
  return "is neither a string, nor a boolean, nor an integer of 32 bits: put it into data.";
}

function attributeProblem(name: string, value: unknown): string | undefined {
  if (name === "specversion") return value === "1.0" ? undefined : 'is not "1.0".';
  const check = Object.hasOwn(KNOWN, name) ? KNOWN[name] : undefined;
  if (!check) {
    if (!NAME.test(name)) return "is no attribute's name: use lower-case letters and digits.";
    return extensionProblem(value);
  }
  if (typeof value !== "string") return "is not a string.";
  return FORBIDDEN.test(value) ? "holds control characters." : check(value);
}

/** Everything that is wrong with a value as a CloudEvent; members that are undefined count as absent. */
export function cloudEventProblems(value: unknown): FieldViolation[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [{ field: "", description: "is not an object." }];
  }
  const problems: FieldViolation[] = [];
  for (const name of REQUIRED) {
    if ((value as Record<string, unknown>)[name] === undefined)
      problems.push({ field: name, description: "is missing." });
  }
  for (const [field, attribute] of Object.entries(value)) {
    if (attribute === undefined || field === "data") continue;
    const description = attributeProblem(field, attribute);
    if (description) problems.push({ field, description });
  }
  return problems;
}

/** An error that names every problem, for one event or several. */
export function invalidEvents(problems: readonly FieldViolation[]): HmsError {
  const list = problems.map(({ field, description }) => `${field || "it"} ${description}`).join(" ");
  return new HmsError("INVALID_ARGUMENT", `Not a CloudEvent 1.0 that can be published: ${list}`, {
    reason: "INVALID_EVENT",
    fieldViolations: [...problems],
  });
}

/** True for a content type whose data is a JSON value; absent means JSON. */
export function isJsonType(contentType: string | undefined): boolean {
  return contentType === undefined || /^[^;]*[/+]json\s*(?:;|$)/i.test(contentType);
}

/** True for a content type whose data is text. */
export function isTextType(contentType: string): boolean {
  return /^text\/|^[^;]*[/+]xml\s*(?:;|$)/i.test(contentType);
}
