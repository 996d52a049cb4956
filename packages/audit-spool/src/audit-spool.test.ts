import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { audit } from "@hms/contracts";
import type { AuditEvent } from "@hms/kernel";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type AuditSpoolOptions, openAuditSpool, type SpoolBatch, type SpoolPosition, SpoolReader } from "./index.ts";

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
const open = (options: Partial<AuditSpoolOptions> = {}) => openAuditSpool({ directory, heartbeatMs: 0, ...options });
const resources = (batch: SpoolBatch | undefined) =>
  batch?.events.map((bytes) => fromBinary(audit.AuditEventSchema, bytes).resource);
const segments = () => readdirSync(directory).filter((name) => name.endsWith(".spool"));

/** Everything behind a position, and where it ends; what was read is removed. */
async function drain(after?: SpoolPosition): Promise<{ found: string[]; position: SpoolPosition | undefined }> {
  const reader = new SpoolReader(directory, 3);
  const found: string[] = [];
  let position = after;
  for (let batch = reader.read(position); batch !== undefined; batch = reader.read(position)) {
    found.push(...(resources(batch) ?? []));
    position = batch.next;
    await reader.remove(batch);
  }
  return { found, position };
}

test("an event can be read by others before record returns, and is on disk when kept resolves", async () => {
  await using spool = open();
  expect(spool.kept()).toBeUndefined();
  spool.record(event);
  expect(resources(new SpoolReader(directory).read(undefined))).toEqual(["receipt-svc"]);
  const [one, other] = [spool.kept(), spool.kept()];
  spool.record(event);
  expect(await Promise.all([one, other, spool.kept()])).toEqual([undefined, undefined, undefined]);
  expect(spool.kept()).toBeUndefined();
});

test("segments follow each other, and are removed once what was in them is kept elsewhere", async () => {
  const all = Array.from({ length: 20 }, (_, n) => `svc-${n}`);
  const spool = open({ segmentBytes: 500 });
  for (const resource of all) spool.record({ ...event, resource });
  expect(segments().length).toBeGreaterThan(3);
  const { found, position } = await drain();
  expect(found).toEqual(all);
  expect(segments()).toHaveLength(1);
  spool.record({ ...event, resource: "later" });
  await spool[Symbol.asyncDispose]();
  await using again = open();
  again.record({ ...event, resource: "after a restart" });
  expect((await drain(position)).found).toEqual(["later", "after a restart"]);
});

test("a spool that was put in the place of another is read from its own beginning", async () => {
  const first = open();
  first.record(event);
  await first[Symbol.asyncDispose]();
  const { position } = await drain();
  rmSync(directory, { recursive: true });
  await using spool = open();
  spool.record({ ...event, resource: "new" });
  expect((await drain(position)).found).toEqual(["new"]);
});

describe("a segment that has no end", () => {
  /** As a writer leaves it that was killed a minute ago. */
  const abandon = (tail: Buffer | string) => {
    const path = join(directory, segments().at(-1) ?? "");
    const end = 8;
    const whole = readFileSync(path);
    writeFileSync(path, whole.subarray(0, whole.length - end));
    appendFileSync(path, tail);
    const pid = Buffer.alloc(4);
    pid.writeUInt32BE(2 ** 22 + 1);
    const bytes = readFileSync(path);
    pid.copy(bytes, 8);
    writeFileSync(path, bytes, { flush: true });
    return path;
  };
  const one = async (resource: string) => {
    const spool = open();
    spool.record({ ...event, resource });
    await spool[Symbol.asyncDispose]();
  };

  test.each([
    ["half a record", Buffer.from([0, 0, 1, 0, 1, 2])],
    ["zeros", Buffer.alloc(4000)],
  ])("because its writer was killed is read up to %s, and left behind once the next has begun", async (_, tail) => {
    await one("before");
    abandon(tail);
    expect((await drain()).found).toEqual(["before"]);
    await one("after");
    const silent = Date.now() + 2000;
    const now = Date.now;
    Date.now = () => silent;
    expect((await drain()).found).toEqual(["before", "after"]);
    Date.now = now;
  });

  test("but something that is no record is told as damage and put aside", async () => {
    await one("before");
    const path = abandon(Buffer.from("deadbeefdeadbeefdeadbeef"));
    await one("after");
    const now = Date.now;
    const silent = now() + 2000;
    Date.now = () => silent;
    const reader = new SpoolReader(directory);
    const first = reader.read(undefined);
    const second = reader.read(first?.next);
    expect(second).toMatchObject({ events: [], damage: { segment: 1, bytes: 24 } });
    await reader.remove(second as SpoolBatch);
    expect(existsSync(`${path}.damaged`)).toBe(true);
    expect((await drain(second?.next)).found).toEqual(["after"]);
    Date.now = now;
  });
});

test("a full spool accepts nothing and says so once; denials and reads find room for a while, what is lost is told", async () => {
  const changes: boolean[] = [];
  await using spool = open({
    maxBytes: 200_000,
    segmentBytes: 10_000,
    onChange: (accepts) => changes.push(accepts),
  });
  let recorded = 0;
  for (; spool.accepts; recorded += 1) spool.record(event);
  expect(spool.accepts).toBe(false);
  expect(changes).toEqual([false]);
  for (let n = 0; n < 1800; n += 1, recorded += 1) spool.record(event);
  await expect(spool.kept()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  const before = await drain();
  const now = Date.now;
  const later = now() + 1000;
  Date.now = () => later;
  expect(spool.accepts).toBe(true);
  Date.now = now;
  expect(changes).toEqual([false, true]);
  await spool.kept();
  let lost = "";
  let kept = before.found.length;
  const reader = new SpoolReader(directory, 100);
  for (let batch = reader.read(before.position); batch !== undefined; batch = reader.read(batch.next)) {
    const events = batch.events.map((bytes) => fromBinary(audit.AuditEventSchema, bytes));
    kept += events.filter(({ method }) => method === "Deploy").length;
    lost = events.find(({ method }) => method === "EventsLost")?.detailsJson ?? lost;
  }
  expect(kept).toBeGreaterThan(1000);
  expect(JSON.parse(lost)).toEqual({ lost: recorded - kept });
});

test("a spool whose folder cannot be read refuses, keeps what comes, and goes on once it can be read again", async () => {
  const changes: boolean[] = [];
  await using spool = open({
    segmentBytes: 500,
    heartbeatMs: 50,
    onChange: (accepts) => changes.push(accepts),
  });
  for (let n = 0; n < 5; n += 1) spool.record(event);
  rmSync(directory, { recursive: true });
  for (let n = 0; n < 5; n += 1) spool.record(event);
  expect(spool.accepts).toBe(false);
  await delay(500);
  expect(spool.accepts).toBe(false);
  expect(() => spool.record(event)).not.toThrow();
  await expect(spool.kept()).rejects.toMatchObject({ code: "UNAVAILABLE" });
  expect(changes).toEqual([false]);
  mkdirSync(directory);
  await delay(300);
  expect(spool.accepts).toBe(true);
  expect(changes).toEqual([false, true]);
  await spool.kept();
});

test("a spool of an earlier release is taken over, without the line that a crash cut short", async () => {
  const { time, principal, ...rest } = event;
  const line = { time: time.toISOString(), principal: principal.id, principal_kind: principal.kind, ...rest };
  writeFileSync(join(directory, "spool.jsonl"), `${JSON.stringify(line)}\n{"time":"20`);
  await using _spool = open();
  const [bytes] = new SpoolReader(directory).read(undefined)?.events ?? [];
  expect(fromBinary(audit.AuditEventSchema, bytes ?? new Uint8Array())).toMatchObject({
    resource: "receipt-svc",
    actor: { kind: "operator", id: "operator" },
    method: "Deploy",
  });
  expect(existsSync(join(directory, "spool.jsonl"))).toBe(false);
});
