import { audit } from "@hms/contracts";
import { openAdmin } from "@hms/postgres";
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AuditScene, eventOf } from "./testing/audit-scene.ts";

let scene: AuditScene;
beforeEach(async () => {
  scene = await AuditScene.open();
});
afterEach(async () => {
  await scene[Symbol.asyncDispose]();
});

const record = (count: number, name = "server") => {
  const spool = scene.spool(name);
  for (let n = 1; n <= count; n += 1) spool.record(eventOf({ resource: `svc-${n}` }));
  return spool;
};

describe("an event", () => {
  test("comes from a spool into the log with all that is known of it, and is found by each of its fields", async () => {
    const spool = scene.spool();
    const traceparent = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
    spool.record(
      eventOf({
        traceparent,
        source: { address: "10.0.0.9", userAgent: "curl/8", peer: "spiffe://default/env/default/svc/a" },
        decision: { policies: ["p-1"], revision: "0a1b2c3d4e5f", cached: true },
        request: { name: "x" },
        environment: "staging",
      }),
    );
    spool.record(eventOf({ outcome: "denied", reason: "no role", principal: { kind: "user", id: "otto" } }));
    await spool.kept();
    await scene.start();
    await scene.until(2);
    const client = scene.client();
    const { events } = await client.searchEvents({ actor: "anna" });
    expect(events).toMatchObject([
      {
        shard: "server",
        seq: 1n,
        outcome: audit.AuditOutcome.OK,
        actor: { kind: "user", id: "anna", roles: ["doctor"], credential: "key:k1" },
        service: "hms.sys.deployment.v1.DeploymentService",
        method: "Deploy",
        permission: "services:deploy",
        resource: "receipt-svc",
        environment: "staging",
        decision: { policyIds: ["p-1"], policyRevision: "0a1b2c3d4e5f", cached: true },
        source: { way: "http", address: "10.0.0.9", userAgent: "curl/8", peer: "spiffe://default/env/default/svc/a" },
        traceId: "a".repeat(32),
        requestId: "r-1",
        requestJson: '{"name":"x"}',
        code: "deployment.deploy",
        resourceType: "services",
        durationUs: 1500n,
      },
    ]);
    const seqs = async (query: Parameters<typeof client.searchEvents>[0]) =>
      (await client.searchEvents(query)).events.map(({ seq }) => Number(seq));
    expect(await seqs({ actor: "user:o*" })).toEqual([2]);
    expect(await seqs({ outcome: audit.AuditOutcome.DENIED })).toEqual([2]);
    expect(await seqs({ method: "Deploy" })).toEqual([2, 1]);
    expect(await seqs({ method: "DeploymentService/Deploy" })).toEqual([2, 1]);
    expect(await seqs({ method: "hms.sys.*" })).toEqual([2, 1]);
    expect(await seqs({ method: "eploy" })).toEqual([]);
    expect(await seqs({ resource: "receipt_svc" })).toEqual([]);
    expect(await seqs({ environment: "staging" })).toEqual([1]);
    expect(await seqs({ traceId: "a".repeat(32) })).toEqual([1]);
    expect(await seqs({ code: "deployment.*" })).toEqual([2, 1]);
    expect(await seqs({ code: "deployment" })).toEqual([]);
    expect(await seqs({ resourceType: "services" })).toEqual([2, 1]);
    expect(await seqs({ policyId: "p-1" })).toEqual([1]);
    expect(await seqs({ policyId: "p_1" })).toEqual([]);
    expect(await seqs({ address: "10.0.0.*" })).toEqual([1]);
    expect(await seqs({ credential: "key:k1", policyId: "p-*" })).toEqual([1]);
    expect(await seqs({ policyId: "*\naddress:10.0.0.9" })).toEqual([]);
    const first = await client.searchEvents({ pageSize: 1 });
    expect(await seqs({ pageSize: 1, pageToken: first.nextPageToken })).toEqual([1]);
    await expect(client.searchEvents({ pageToken: "x" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const elsewhere = scene.client({ kind: "user", id: "eva", environment: "default" });
    expect((await elsewhere.searchEvents({})).events.map(({ seq }) => Number(seq))).toEqual([2]);
    expect((await elsewhere.searchEvents({ environment: "staging" })).events).toEqual([]);
    await expect(
      (async () => {
        for await (const _ of elsewhere.exportEvents({}));
      })(),
    ).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });
});

test("the service's own role may add to the log and change nothing in it", async () => {
  record(3);
  await scene.start();
  await scene.until(3);
  const { db } = scene.own.database;
  const day = `audit_log.audit_event_${new Date().toISOString().slice(0, 10).replaceAll("-", "")}`;
  for (const statement of [
    `delete from ${day}`,
    `truncate ${day}`,
    `insert into ${day} select * from ${day}`,
    `alter table audit_log.audit_event detach partition ${day}`,
    "create or replace function audit_log.refuse_change() returns trigger language sql as 'select null'",
    "set session_replication_role = replica",
    "update audit_log.audit_event set actor = 'x'",
    "delete from audit_log.audit_event",
    "truncate audit_log.audit_event",
    "drop table audit_log.audit_event",
    "alter table audit_log.audit_event disable trigger all",
    "select audit_log.remove_day((now() at time zone 'utc')::date)",
  ]) {
    await expect(sql.raw(statement).execute(db), statement).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  }
  // Nor may whoever owns it, as long as its triggers are there.
  await using admin = await openAdmin(scene.own.source);
  for (const verb of ["update audit_log.audit_event set seq = 0", `delete from ${day}`, `truncate ${day}`]) {
    await expect(admin.query(verb), verb).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  }
  expect((await scene.verify()).integrity).toEqual([]);
});
