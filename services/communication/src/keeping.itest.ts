import { once } from "node:events";
import { renameSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { auditEventBytes, LOG_SHARD, readCheckpoint } from "@hms/audit-log";
import { openAuditSpool } from "@hms/audit-spool";
import { HmsError } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { sql } from "kysely";
import { afterEach, beforeEach, expect, test } from "vitest";
import { forwardSpool } from "./index.ts";
import { AuditScene, eventOf, operator } from "./testing/audit-scene.ts";

let scene: AuditScene;
beforeEach(async () => {
  scene = await AuditScene.open();
});
afterEach(() => scene[Symbol.asyncDispose]());

test("days whose time is over are removed, signed up to where, and the rest is still sound and whole", async () => {
  const spool = scene.spool();
  for (let n = 1; n <= 5; n += 1) spool.record(eventOf({ resource: `old-${n}` }));
  const log = await scene.start({ keepDays: 7 });
  await scene.until(5);
  await log.checkpoint();
  const inTwoWeeks = new Date(Date.now() + 14 * 86_400_000);
  await log.removeOld(inTwoWeeks);
  // A clock that is wrong here removes nothing that is young by the database's.
  expect((await scene.rows()).filter(({ shard }) => shard === "server")).toHaveLength(5);
  // As if these had come a month ago.
  await scene.tamper(
    "select ensure_day((now() - interval '30 days')::date)",
    "update audit_event set recorded_at = recorded_at - interval '30 days' where shard = 'server' and seq <= 3",
  );
  await log.removeOld(new Date());
  const rows = await scene.rows();
  expect(rows.filter(({ shard }) => shard === "server").map(({ seq }) => seq)).toEqual([4, 5]);
  const { events } = await scene.client().searchEvents({ method: "AuditLog/DaysRemoved" });
  expect(JSON.parse(events[0]?.detailsJson ?? "")).toMatchObject({ removed: { server: { seq: 3 } } });
  const report = await scene.verify();
  expect(report).toMatchObject({ integrity: [], completeness: [], shards: { server: { first: 4, last: 5 } } });
  // Whoever removes them without saying so is found out.
  await scene.tamper("delete from audit_event where shard = 'server' and seq = 4");
  expect((await scene.verify()).completeness).toMatchObject([{ shard: "server", seq: 4, what: "event 4 is missing" }]);
});

test("checkpoints go to a sink in their order, each until it is taken, also those from before a restart", async () => {
  const taken: string[] = [];
  let status = 503;
  await using server = createServer(async (request, response) => {
    const line = await text(request);
    if (status === 204) taken.push(line);
    response.writeHead(status).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const sinkUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/keep?secret=x`;
  const log = await scene.start({ sinkUrl });
  await log.checkpoint();
  await waitFor(() => scene.failures.length > 0, { describe: "the refusal to be told" });
  expect(scene.failures[0]?.message).toMatch(/keep answered 503/);
  expect(scene.failures[0]?.message).not.toMatch(/secret/);
  expect(await scene.client().getAuditStatus({})).toMatchObject({ sinkBehind: 1n, checkpointNumber: 1n });
  await scene.stop();
  status = 204;
  const again = await scene.start({ sinkUrl });
  await again.checkpoint();
  await waitFor(() => taken.length === 2, { describe: "both checkpoints at the sink" });
  expect(taken).toEqual(scene.checkpoints());
  const { checkpointKey } = await scene.client().getAuditStatus({});
  expect(taken.map((line) => readCheckpoint(line, checkpointKey)?.number)).toEqual([1, 2]);
  await scene.stop();
  await scene.start({ sinkUrl });
  expect(await scene.client().getAuditStatus({})).toMatchObject({ sinkBehind: 0n });
});

test("without its keys the log stands still and says so, and what waits comes in once they are back", async () => {
  const spool = scene.spool();
  spool.record(eventOf());
  await scene.start();
  await scene.until(1);
  await scene.stop();
  const [keys, away] = [join(scene.folder, "keys"), join(scene.folder, "away")];
  renameSync(keys, away);
  await scene.start();
  await expect(scene.client().searchEvents({})).rejects.toMatchObject({ details: { reason: "AUDIT_KEYS_MISSING" } });
  spool.record(eventOf());
  expect(spool.accepts).toBe(true);
  await scene.stop();
  rmSync(keys, { recursive: true });
  renameSync(away, keys);
  await scene.start();
  await scene.until(2);
  expect(await scene.verify()).toMatchObject({ integrity: [], completeness: [] });
});

test("while PostgreSQL refuses, events wait in the spool, and come in once it does not", async () => {
  await scene.start();
  const spool = scene.spool();
  spool.record(eventOf());
  await scene.until(1);
  await scene.tamper("alter table audit_event rename to audit_event_away");
  for (let n = 0; n < 20; n += 1) {
    spool.record(eventOf());
    await spool.kept();
  }
  await waitFor(() => scene.failures.length > 0, { describe: "the failure to be told" });
  expect(spool.accepts).toBe(true);
  const { failure, shards } = await scene.client().getAuditStatus({});
  expect(failure).not.toBe("");
  expect(shards[0]?.waitingBytes).toBeGreaterThan(1000n);
  await scene.tamper("alter table audit_event_away rename to audit_event");
  await scene.until(21);
  const after = await scene.client().getAuditStatus({});
  expect(after.shards.find(({ shard }) => shard === "server")).toMatchObject({ waitingBytes: 0n });
});

test("a process on another machine hands its own spool in, also after the log was away", async () => {
  await scene.start();
  const spool = openAuditSpool({ directory: join(scene.folder, "elsewhere", "deployment"), heartbeatMs: 0 });
  await using _spool = spool;
  let isAway = true;
  const failures: string[] = [];
  await using _forwarding = forwardSpool({
    spools: join(scene.folder, "elsewhere"),
    process: "deployment",
    log: {
      appendSpooled: (request, options) =>
        isAway ? Promise.reject(new HmsError("UNAVAILABLE", "away")) : scene.client().appendSpooled(request, options),
    },
    pollMs: 10,
    onFailure: ({ message }) => failures.push(message),
  });
  for (let n = 1; n <= 300; n += 1) spool.record(eventOf({ resource: `svc-${n}` }));
  await waitFor(() => failures.length > 0, { describe: "the log's absence to be told" });
  isAway = false;
  await scene.until(300, "deployment");
  spool.record(eventOf({ resource: "later" }));
  await scene.until(301, "deployment");
  const report = await scene.verify();
  expect(report).toMatchObject({ integrity: [], shards: { deployment: { first: 1, last: 301 } } });
});

test("a part on another machine hands its spool in, once, and in no other's name", async () => {
  const log = await scene.start();
  await log.checkpoint();
  const at = (offset: bigint) => ({ spoolId: "remote-1", segment: 1n, offset });
  const part = { shard: "deployment", position: at(0n), next: at(50n), events: [auditEventBytes(eventOf())] };
  const client = scene.client(operator);
  expect((await client.appendSpooled(part)).position).toMatchObject({ offset: 50n });
  expect((await client.appendSpooled(part)).position).toMatchObject({ offset: 50n });
  expect((await client.searchEvents({})).events).toMatchObject([{ shard: "deployment", seq: 1n }]);
  await expect(client.appendSpooled({ ...part, shard: LOG_SHARD })).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
  });
  const { rows } = await sql`select * from spool_position`.execute(scene.own.database.db);
  expect(rows).toHaveLength(1);
});
