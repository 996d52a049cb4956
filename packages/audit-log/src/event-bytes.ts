import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { audit } from "@hms/contracts";
import { type AuditEvent, StatusCode } from "@hms/kernel";

const { OK, DENIED, FAILED } = audit.AuditOutcome;
const LARGEST_REQUEST = 64 * 1024;
const LONGEST_TEXT = 4096;
const TRACE_ID = /^[0-9a-f]{2}-([0-9a-f]{32})-/;

/** Writes fields in the order of their numbers and leaves empty ones out: the canonical form of hms.communication.v1. */
class CanonicalWriter {
  readonly #writer = new BinaryWriter();

  text(field: number, value: string | undefined, longest = LONGEST_TEXT): this {
    if (value === undefined || value === "") return this;
    // What cannot be written as UTF-8 is no reason to lose an event.
    const whole = value.length > longest ? `${value.slice(0, longest)}…` : value;
    this.#writer.tag(field, WireType.LengthDelimited).string(whole.toWellFormed());
    return this;
  }

  texts(field: number, values: readonly string[] = []): this {
    for (const value of values) this.#writer.tag(field, WireType.LengthDelimited).string(value.toWellFormed());
    return this;
  }

  number(field: number, value: number): this {
    if (value !== 0) this.#writer.tag(field, WireType.Varint).int64(value);
    return this;
  }

  message(field: number, inner: CanonicalWriter): this {
    const bytes = inner.finish();
    if (bytes.length > 0) this.#writer.tag(field, WireType.LengthDelimited).bytes(bytes);
    return this;
  }

  /** A google.protobuf.Timestamp, whole microseconds since 1970. */
  time(field: number, microseconds: number): this {
    const seconds = Math.floor(microseconds / 1e6);
    const nanos = (microseconds - seconds * 1e6) * 1000;
    return this.message(field, new CanonicalWriter().number(1, seconds).number(2, nanos));
  }

  finish(): Uint8Array {
    return this.#writer.finish();
  }
}

/** An event of a kernel as hms.communication.v1.AuditEvent without its place in a chain. */
export function auditEventBytes(event: AuditEvent): Uint8Array {
  const { principal, source, method, durationMs = 0, details } = event;
  const slash = method.lastIndexOf("/");
  const actor = new CanonicalWriter()
    .text(1, principal.kind)
    .text(2, principal.id)
    .text(3, principal.environment)
    .text(4, principal.credential)
    .texts(5, principal.roles)
    .number(6, principal.mfa === true ? 1 : 0);
  const from = new CanonicalWriter()
    .text(1, event.way)
    .text(2, source?.peer)
    .text(3, source?.address)
    .text(4, source?.userAgent);
  return new CanonicalWriter()
    .time(4, event.time.getTime() * 1000)
    .number(5, outcomeOf(event))
    .message(6, actor)
    .text(7, method.slice(0, Math.max(slash, 0)))
    .text(8, method.slice(slash + 1))
    .text(9, event.permission)
    .text(10, event.resource)
    .text(11, event.environment)
    .message(12, new CanonicalWriter().texts(1, event.policies))
    .text(13, event.reason)
    .message(14, from)
    .text(15, TRACE_ID.exec(event.traceparent ?? "")?.[1])
    .text(16, event.requestId)
    .text(17, requestJson(event.request), LARGEST_REQUEST)
    .number(18, codeOf(event))
    .number(19, Math.round(durationMs * 1000))
    .text(20, details === undefined ? undefined : JSON.stringify(details), LARGEST_REQUEST)
    .finish();
}

/** Where an event has its place. */
export interface ChainPlace {
  readonly shard: string;
  readonly seq: number;
  /** Microseconds since 1970. */
  readonly recordedAt: number;
}

/** Gives an event its place in a chain: a protobuf message is the fields before and after, one behind the other. */
export function placedEventBytes({ shard, seq, recordedAt }: ChainPlace, event: Uint8Array): Buffer {
  const place = new CanonicalWriter().text(1, shard).number(2, seq).time(3, recordedAt).finish();
  return Buffer.concat([place, event]);
}

function outcomeOf({ outcome }: AuditEvent): audit.AuditOutcome {
  if (outcome === "denied") return DENIED;
  return outcome === "OK" ? OK : FAILED;
}

function codeOf({ outcome, principal }: AuditEvent): number {
  if (outcome !== "denied") return StatusCode[outcome];
  return principal.kind === "anonymous" ? StatusCode.UNAUTHENTICATED : StatusCode.PERMISSION_DENIED;
}

function requestJson(request: unknown): string | undefined {
  if (request === undefined) return undefined;
  const text = JSON.stringify(request);
  return text.length <= LARGEST_REQUEST ? text : JSON.stringify({ omitted: `a request of ${text.length} characters` });
}
