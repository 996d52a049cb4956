import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { audit } from "@hms/contracts";
import { type AuditEvent, type DecisionGround, StatusCode } from "@hms/kernel";
import { eventCode } from "./event-code.ts";

const { OK, DENIED, FAILED } = audit.AuditOutcome;
const LARGEST_REQUEST = 64 * 1024;
const LONGEST_TEXT = 4096;
const TRACE_ID = /^[0-9a-f]{2}-([0-9a-f]{32})-/;

// One for all: what it has grown to is of use to the next event, and nothing here waits.
const writer = new BinaryWriter();

/** Writes fields in the order of their numbers and leaves empty ones out: the canonical form of hms.communication.v1. */
function text(field: number, value: string | undefined, longest = LONGEST_TEXT): void {
  if (value === undefined || value === "") return;
  const whole = value.length > longest ? `${value.slice(0, longest)}…` : value;
  // What cannot be written as UTF-8 is no reason to lose an event.
  writer.tag(field, WireType.LengthDelimited).string(whole.isWellFormed() ? whole : whole.toWellFormed());
}

function texts(field: number, values: readonly string[] = []): void {
  for (const value of values) writer.tag(field, WireType.LengthDelimited).string(value.toWellFormed());
}

function number(field: number, value: number): void {
  if (value === 0) return;
  // Most are small, and 32 bits are written ten times as fast.
  if (value > 0 && value <= 0x7fffffff) writer.tag(field, WireType.Varint).uint32(value);
  else writer.tag(field, WireType.Varint).int64(value);
}

function message(field: number, write: () => void): void {
  writer.tag(field, WireType.LengthDelimited).fork();
  write();
  writer.join();
}

/** A google.protobuf.Timestamp, whole microseconds since 1970. */
function time(field: number, microseconds: number): void {
  const seconds = Math.floor(microseconds / 1e6);
  message(field, () => {
    number(1, seconds);
    number(2, (microseconds - seconds * 1e6) * 1000);
  });
}

/** An event of a kernel as hms.communication.v1.AuditEvent without its place in a chain. */
export function auditEventBytes(event: AuditEvent): Uint8Array {
  const { method, decision, durationMs = 0, details } = event;
  const slash = method.lastIndexOf("/");
  time(4, event.time.getTime() * 1000);
  number(5, outcomeOf(event));
  message(6, () => writeActor(event.principal));
  text(7, method.slice(0, Math.max(slash, 0)));
  text(8, method.slice(slash + 1));
  text(9, event.permission);
  text(10, event.resource);
  text(11, event.environment);
  if (hasGround(decision)) message(12, () => writeDecision(decision));
  text(13, event.reason);
  if (event.way !== undefined || event.source !== undefined) message(14, () => writeSource(event));
  text(15, TRACE_ID.exec(event.traceparent ?? "")?.[1]);
  text(16, event.requestId);
  text(17, requestJson(event.request), LARGEST_REQUEST);
  number(18, codeOf(event));
  number(19, Math.round(durationMs * 1000));
  text(20, details === undefined ? undefined : JSON.stringify(details), LARGEST_REQUEST);
  text(21, event.code ?? eventCode(method));
  text(22, event.resourceType ?? (event.resource === "" ? undefined : nounOf(event.permission)));
  return writer.finish();
}

/** "services" of "services:deploy". */
function nounOf(permission: string): string {
  const colon = permission.indexOf(":");
  return colon < 0 ? permission : permission.slice(0, colon);
}

function writeActor({ kind, id, environment, credential, roles, mfa, methods }: AuditEvent["principal"]): void {
  text(1, kind);
  text(2, id);
  text(3, environment);
  text(4, credential);
  texts(5, roles);
  number(6, mfa === true ? 1 : 0);
  texts(7, methods);
}

/** Whether there is anything to say of what decided. */
function hasGround(decision: DecisionGround | undefined): decision is DecisionGround {
  if (decision === undefined) return false;
  return decision.revision !== undefined || decision.cached === true || (decision.policies?.length ?? 0) > 0;
}

function writeDecision({ policies, revision, cached }: DecisionGround): void {
  texts(1, policies);
  text(2, revision);
  number(3, cached === true ? 1 : 0);
}

function writeSource({ way, source }: AuditEvent): void {
  text(1, way);
  text(2, source?.peer);
  text(3, source?.address);
  text(4, source?.userAgent);
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
  text(1, shard);
  number(2, seq);
  time(3, recordedAt);
  return Buffer.concat([writer.finish(), event]);
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
