import { readFileSync } from "node:fs";
import { type DescMessage, fromBinary } from "@bufbuild/protobuf";
import { audit } from "@hms/contracts";
import type { AuditEvent } from "@hms/kernel";
import { expect, test } from "vitest";
import { auditEventBytes, placedEventBytes } from "./index.ts";

const page = readFileSync(new URL("../../../docs/guide/audit.md", import.meta.url), "utf8");
const [, table = ""] = /## What an event has\n\n([\s\S]*?)\n\n/.exec(page) ?? [];
const listed = table
  .split("\n")
  .flatMap((line) => [...(line.split("|")[1] ?? "").matchAll(/`([\w.]+)`/g)].map(([, name]) => name));

/** "actor.kind", "seq", for every field of the contract's message that is no message of ours itself. */
function fieldsOf(message: DescMessage, prefix = ""): string[] {
  return message.fields.flatMap((field) =>
    field.message?.typeName.startsWith("hms.")
      ? fieldsOf(field.message, `${prefix}${field.jsonName}.`)
      : [`${prefix}${field.jsonName}`],
  );
}

/** The same, of what an event says. */
function saidIn(value: object, prefix = ""): string[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    if (key.startsWith("$") || inner === "" || inner === 0 || inner === 0n || inner === false) return [];
    if (Array.isArray(inner)) return inner.length === 0 ? [] : [`${prefix}${key}`];
    const isOurs = inner?.$typeName?.startsWith("hms.") === true;
    return isOurs ? saidIn(inner, `${prefix}${key}.`) : [`${prefix}${key}`];
  });
}

const full: AuditEvent = {
  time: new Date(),
  principal: {
    kind: "user",
    id: "anna",
    environment: "staging",
    credential: "session:0123456789abcdef",
    roles: ["a"],
    mfa: true,
    methods: ["pwd", "otp"],
  },
  method: "hms.sys.mesh.v1.MeshService/SetService",
  permission: "mesh:write",
  resource: "receipt-svc",
  outcome: "NOT_FOUND",
  reason: "There is none.",
  requestId: "r-1",
  request: { name: "x" },
  environment: "staging",
  way: "grpc",
  source: { peer: "spiffe://a/b", address: "10.0.0.1", userAgent: "x" },
  traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
  decision: { policies: ["p-1"], revision: "0a1b2c3d4e5f", cached: true },
  durationMs: 4,
  details: { a: 1 },
};

test("the guide's table has each field of an event, and no other", () => {
  expect([...listed].sort()).toEqual(fieldsOf(audit.AuditEventSchema).sort());
});

test("each of these fields is written, if there is something to say", () => {
  const bytes = placedEventBytes({ shard: "server", seq: 1, recordedAt: 1.7e15 }, auditEventBytes(full));
  expect(saidIn(fromBinary(audit.AuditEventSchema, bytes)).sort()).toEqual([...listed].sort());
});

test("where there is nothing to say, an event is written as it was before there was such a field", () => {
  const { principal, method, permission, time } = full;
  const plain: AuditEvent = {
    principal,
    method,
    permission,
    time,
    resource: "",
    outcome: "OK",
    reason: "",
    requestId: "",
  };
  const silent = auditEventBytes({ ...plain, decision: {} });
  expect(Buffer.compare(silent, auditEventBytes(plain))).toBe(0);
  expect(Buffer.compare(auditEventBytes({ ...plain, decision: { policies: [], cached: false } }), silent)).toBe(0);
});
