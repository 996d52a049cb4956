import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { audit } from "@hms/contracts";
import type { AuditEvent } from "@hms/kernel";
import { expect, test } from "vitest";
import { auditEventBytes, eventColumns, placedEventBytes } from "./index.ts";

const event: AuditEvent = {
  time: new Date("2026-01-31T12:00:00.123Z"),
  principal: {
    kind: "user",
    id: "anna",
    roles: ["a", "b"],
    mfa: true,
    environment: "staging",
    credential: "key:k1",
    methods: ["pwd", "otp"],
  },
  method: "hms.sys.mesh.v1.MeshService/SetService",
  permission: "mesh:write",
  resource: "receipt-svc",
  outcome: "NOT_FOUND",
  reason: "There is none.",
  requestId: "r-1",
  request: { name: "ä".repeat(70_000) },
  environment: "staging",
  way: "grpc",
  source: { peer: "spiffe://a/b", address: "10.0.0.1", userAgent: "x" },
  traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
  decision: { policies: ["p-1"], revision: "0a1b2c3d4e5f", cached: true },
  durationMs: 4_000_000,
  details: { a: 1 },
};

test("an event's bytes are the contract's message in canonical form, with its place and without", () => {
  const bytes = auditEventBytes(event);
  const placed = placedEventBytes({ shard: "server", seq: 2 ** 40, recordedAt: 1.7e15 + 1 }, bytes);
  for (const one of [bytes, placed]) {
    const again = toBinary(audit.AuditEventSchema, fromBinary(audit.AuditEventSchema, one));
    expect(Buffer.compare(one, again)).toBe(0);
  }
  const read = fromBinary(audit.AuditEventSchema, placed);
  expect(read).toMatchObject({
    shard: "server",
    seq: 2n ** 40n,
    recordedAt: { seconds: 1_700_000_000n, nanos: 1000 },
    outcome: audit.AuditOutcome.FAILED,
    actor: { kind: "user", id: "anna", roles: ["a", "b"], mfa: true, environment: "staging", credential: "key:k1" },
    service: "hms.sys.mesh.v1.MeshService",
    method: "SetService",
    source: { way: "grpc", peer: "spiffe://a/b", address: "10.0.0.1", userAgent: "x" },
    decision: { policyIds: ["p-1"], policyRevision: "0a1b2c3d4e5f", cached: true },
    resultCode: 5,
    durationUs: 4_000_000_000n,
    traceId: "a".repeat(32),
    requestJson: expect.stringMatching(/^\{"omitted":"a request of \d+ characters"\}$/),
    detailsJson: '{"a":1}',
    code: "mesh.set-service",
    resourceType: "mesh",
  });
  expect(read.time && timestampMs(read.time)).toBe(event.time.getTime());
  expect(eventColumns(placed)).toEqual({
    shard: "server",
    seq: 2 ** 40,
    recordedAt: 1.7e15 + 1,
    time: event.time.getTime() * 1000,
    outcome: audit.AuditOutcome.FAILED,
    actor: "user:anna",
    method: event.method,
    resource: "receipt-svc",
    environment: "staging",
    requestId: "r-1",
    traceId: "a".repeat(32),
    facts: "\ncredential:key:k1\npolicy:p-1\naddress:10.0.0.1\ncode:mesh.set-service\ntype:mesh\n",
  });
});

test("texts that cannot be written as they are, or are too long, lose no event", () => {
  const odd = { ...event, resource: `a\ud800\0${"x".repeat(10_000)}`, reason: "\udc00" };
  const bytes = auditEventBytes(odd);
  expect(fromBinary(audit.AuditEventSchema, bytes)).toMatchObject({ reason: "\ufffd" });
  expect(eventColumns(bytes).resource.slice(0, 4)).toBe("a\ufffd\ufffdx");
});

test("a fact cannot be made up of another's text, and events of releases without codes have none", () => {
  const odd = { ...event, decision: { policies: ["x\ncode:a.b"] }, code: "a.b\naddress:1.1.1.1" };
  expect(eventColumns(auditEventBytes(odd)).facts.split("\n")).toEqual([
    "",
    "credential:key:k1",
    "policy:x code:a.b",
    "address:10.0.0.1",
    "code:a.b address:1.1.1.1",
    "type:mesh",
    "",
  ]);
  expect(eventColumns(auditEventBytes({ ...event, code: "" })).facts).toBe("");
});

test("a denial's code tells whether the caller was known", () => {
  const code = (kind: "user" | "anonymous") =>
    fromBinary(audit.AuditEventSchema, auditEventBytes({ ...event, outcome: "denied", principal: { kind, id: "x" } }))
      .resultCode;
  expect([code("user"), code("anonymous")]).toEqual([7, 16]);
});
