import { appendFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AuditEvent } from "@hms/kernel";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openAuditSpool } from "./index.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "hms-audit-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const event: AuditEvent = {
  time: new Date("2026-01-31T12:00:00Z"),
  principal: { kind: "operator", id: "operator" },
  method: "hms.sys.deployment.v1.DeploymentService/Deploy",
  permission: "services:deploy",
  resource: "receipt-svc",
  outcome: "OK",
  reason: "",
  requestId: "r-1",
};
const lines = () => readFileSync(join(directory, "spool.jsonl"), "utf8").trimEnd().split("\n");

test("an event is on its way to disk before record returns", async () => {
  await using spool = openAuditSpool({ directory });
  spool.record(event);
  expect(JSON.parse(lines()[0] ?? "")).toMatchObject({ principal: "operator", resource: "receipt-svc", outcome: "OK" });
});

test("a line that a crash cut short is removed, whole lines stay", async () => {
  const first = openAuditSpool({ directory });
  first.record(event);
  await first[Symbol.asyncDispose]();
  appendFileSync(join(directory, "spool.jsonl"), '{"time":"20');
  await using spool = openAuditSpool({ directory });
  spool.record({ ...event, resource: "payment-svc" });
  expect(lines().map((line) => JSON.parse(line).resource)).toEqual(["receipt-svc", "payment-svc"]);
});

test("a full spool accepts nothing and says so once", async () => {
  const changes: boolean[] = [];
  await using spool = openAuditSpool({ directory, maxBytes: 100, onChange: (accepts) => changes.push(accepts) });
  expect(spool.accepts).toBe(true);
  spool.record(event);
  expect(spool.accepts).toBe(false);
  expect(spool.accepts).toBe(false);
  expect(changes).toEqual([false]);
});
