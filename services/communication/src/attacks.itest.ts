import { generateKeyPairSync } from "node:crypto";
import { join } from "node:path";
import {
  CHAIN_START,
  CheckpointSigner,
  chainMac,
  EpochKeys,
  readVerificationRoot,
  verificationRootPath,
} from "@hms/audit-log";
import type { AuditSpool } from "@hms/audit-spool";
import { openSealingKey } from "@hms/secrets";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LogReader } from "./audit/log-reader.ts";
import { AuditScene, eventOf } from "./testing/audit-scene.ts";

let scene: AuditScene;
let lines: string[] = [];
let spools: AuditSpool[] = [];

/** A log of two chains, 8 events each, with a checkpoint after the fourth and one at the end. */
beforeAll(async () => {
  scene = await AuditScene.open();
  await scene.start();
  spools = [scene.spool("server"), scene.spool("agent")];
  for (let n = 1; n <= 8; n += 1) {
    for (const spool of spools) spool.record(eventOf({ resource: `svc-${n}`, request: { n } }));
    if (n % 4 !== 0) continue;
    await scene.until(n, "server");
    await scene.until(n, "agent");
    await scene.log?.checkpoint();
  }
  // What comes after the last checkpoint claims it.
  lines = scene.checkpoints();
  await scene.tamper(
    "create table kept as select * from audit_event",
    "create table kept_heads as select * from communication.shard_head",
  );
});
afterAll(() => scene[Symbol.asyncDispose]());

/** What is found out after some statements; the log is whole again afterwards. */
async function after(...statements: string[]) {
  await scene.tamper(...statements);
  const { integrity, completeness } = await scene.verify(lines);
  await scene.tamper("delete from audit_event", "insert into audit_event select * from kept");
  const tell = (findings: typeof integrity) => findings.map(({ shard, seq, what }) => `${shard} ${seq}: ${what}`);
  return { integrity: tell(integrity), completeness: tell(completeness) };
}

test("a log that nobody has touched is sound", async () => {
  expect(await scene.verify(lines)).toMatchObject({
    integrity: [],
    completeness: [],
    events: 18,
    checkpoints: 2,
    shards: { server: { first: 1, last: 8 }, agent: { first: 1, last: 8 }, "audit-log": { first: 1, last: 2 } },
  });
});

describe("verification names what was done and where, when somebody", () => {
  const CHANGED = "it, its place or its MAC was changed after it was written";

  test("changes any column", async () => {
    const values = {
      actor: "'user:otto'",
      method: "'x/Y'",
      resource: "'other'",
      environment: "'staging'",
      outcome: "2",
      time: "time + interval '1 microsecond'",
      request_id: "''",
      trace_id: "'1'",
    };
    const statements = Object.entries(values).map(
      ([column, value], n) => `update audit_event set ${column} = ${value} where shard = 'server' and seq = ${n + 1}`,
    );
    const { integrity, completeness } = await after(...statements);
    const places = Object.keys(values).map((_, n) =>
      expect.stringMatching(`^server ${n + 1}: its column .* says .*, the event `),
    );
    expect(integrity).toEqual(places);
    expect(completeness).toEqual([]);
    const facts = await after("update audit_event set facts = '' where shard = 'agent' and seq = 1");
    expect(facts.integrity).toEqual([expect.stringMatching("^agent 1: its column facts says")]);
  });

  test("changes an event's bytes, its MAC or its epoch", async () => {
    const where = "where shard = 'server' and seq = 5";
    const bytes = "set_byte(event, length(event) - 4, get_byte(event, length(event) - 4) # 1)";
    expect((await after(`update audit_event set event = ${bytes} ${where}`)).integrity).toContain(
      `server 5: ${CHANGED}`,
    );
    expect(await after(`update audit_event set mac = sha256(mac) ${where}`)).toEqual({
      integrity: [`server 5: ${CHANGED}`],
      completeness: [],
    });
    expect((await after(`update audit_event set epoch = 1 ${where}`)).integrity).toContain(`server 5: ${CHANGED}`);
  });

  test("removes events in the middle", async () => {
    expect(await after("delete from audit_event where shard = 'server' and seq in (3, 4)")).toEqual({
      integrity: [],
      completeness: ["server 3: events 3 to 4 are missing"],
    });
  });

  test("removes more in the middle than a page of an export holds", async () => {
    await scene.tamper("delete from audit_event where shard = 'server' and seq between 3 and 7");
    const reader = new LogReader(scene.own.database);
    const page = async (seq: number) => (await reader.rows("server", { seq, recordedAt: 0 }, 2)).map(({ seq }) => seq);
    expect([await page(0), await page(3), await page(9)]).toEqual([[1, 2], [8], []]);
    expect((await after("select 1")).completeness).toEqual(["server 3: events 3 to 7 are missing"]);
  });

  test("removes the last events, or a whole chain", async () => {
    const { integrity, completeness } = await after(
      "delete from audit_event where shard = 'server' and seq > 6",
      "delete from audit_event where shard = 'agent'",
    );
    expect(integrity).toEqual([]);
    expect(completeness).toEqual([
      expect.stringMatching(
        /^server 7: the chain ends at 6, but checkpoint #2 .* proves 8: 2 events are missing at its end/,
      ),
      expect.stringMatching(/^agent 1: the chain ends at 0, but checkpoint #2 .* 8 events are missing/),
    ]);
  });

  test("exchanges two events, within a chain or between chains", async () => {
    const swap = (a: string, b: string) => `update audit_event t set event = o.event, mac = o.mac, actor = o.actor,
      resource = o.resource, time = o.time from kept o where (t.shard, t.seq) = ${a} and (o.shard, o.seq) = ${b}`;
    const within = await after(swap("('server', 3)", "('server', 6)"), swap("('server', 6)", "('server', 3)"));
    expect(within.integrity).toContain("server 3: its row holds the event 6 of server");
    expect(within.integrity).toContain("server 6: its row holds the event 3 of server");
    const between = await after(swap("('server', 3)", "('agent', 3)"), swap("('agent', 3)", "('server', 3)"));
    expect(between.integrity).toContain("server 3: its row holds the event 3 of agent");
    expect(between.integrity).toContain("agent 3: its row holds the event 3 of server");
  });

  test("numbers events anew to close a gap", async () => {
    const { integrity } = await after(
      "delete from audit_event where shard = 'server' and seq = 5",
      "update audit_event set seq = seq - 1 where shard = 'server' and seq > 5",
    );
    expect(integrity).toContain("server 5: its row holds the event 6 of server");
  });

  test("writes a whole chain anew with the keys of the platform", async () => {
    const rows = (await scene.rows()).filter(({ shard }) => shard === "server");
    const root = readVerificationRoot(
      verificationRootPath(join(scene.folder, "keys")),
      openSealingKey(join(scene.folder, "config", "secrets.key")),
    );
    const keys = new EpochKeys(root);
    let mac: Uint8Array = CHAIN_START;
    const statements = rows.map(({ seq, epoch, event }) => {
      // As if somebody else had asked: of the same length, so that everything else stays as it is.
      const lie = Buffer.from(Buffer.from(event).toString("latin1").replace("anna", "otto"), "latin1");
      mac = chainMac(keys.keyOf("server", epoch), mac, lie);
      const hex = (bytes: Uint8Array) => `'\\x${Buffer.from(bytes).toString("hex")}'`;
      return `update audit_event set event = ${hex(lie)}, mac = ${hex(mac)}, actor = 'user:otto'
        where shard = 'server' and seq = ${seq}`;
    });
    const { integrity, completeness } = await after(...statements);
    expect(integrity).toEqual([
      expect.stringMatching(/^server 4: checkpoint #1 .* has seen another event here/),
      expect.stringMatching(/^server 8: checkpoint #2 .* has seen another event here/),
    ]);
    expect(completeness).toEqual([]);
  });

  test("shortens the file of the checkpoints, takes a line out, changes one, or signs one with another key", async () => {
    const [first = "", second = ""] = lines;
    expect((await scene.verify([first])).completeness).toMatchObject([
      { what: "the checkpoints end with #1, but the log knows of #2" },
    ]);
    expect((await scene.verify([])).completeness).toMatchObject([
      { what: "there are no checkpoints, but the log knows of #2" },
    ]);
    // An older copy that was kept elsewhere lacks newer ones by its nature.
    expect((await scene.verify([first], true)).completeness).toEqual([]);
    await scene.log?.checkpoint();
    const [, , third = ""] = scene.checkpoints();
    expect((await scene.verify([first, third])).completeness).toMatchObject([
      { what: "checkpoints #2 to #2 are missing" },
    ]);
    const [header, payload = "", signature] = second.split(".");
    const forged = Buffer.from(payload, "base64url").toString().replace('"number":2', '"number":2 ');
    const line = [header, Buffer.from(forged).toString("base64url"), signature].join(".");
    expect((await scene.verify([first, line])).completeness[0]?.what).toMatch(/line 2 .* is not signed by the key/);
    const forger = new CheckpointSigner(
      generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" }),
    );
    const said = JSON.parse(Buffer.from(payload, "base64url").toString());
    expect((await scene.verify([first, forger.sign(said)])).completeness[0]?.what).toMatch(
      /line 2 .* is not signed by/,
    );
    expect((await scene.verify([second, first, third])).completeness.map(({ what }) => what)).toEqual([
      "checkpoint #1 stands after #2",
      "checkpoints #2 to #2 are missing",
    ]);
  });

  test("restores an older state of the database and lets it go on", async () => {
    await scene.stop();
    await scene.tamper(
      "delete from audit_event where seq > 4 and shard <> 'audit-log'",
      `update communication.shard_head h set seq = e.seq, mac = e.mac from audit_event e
       where e.shard = h.shard and e.seq = 4 and h.shard <> 'audit-log'`,
    );
    await scene.start();
    expect((await scene.verify()).completeness).toMatchObject([
      { shard: "agent", seq: 5 },
      { shard: "server", seq: 5 },
    ]);
    for (let n = 5; n <= 9; n += 1) spools[0]?.record(eventOf({ resource: `new-${n}` }));
    await scene.until(9);
    const { integrity, completeness } = await scene.verify();
    expect(integrity).toMatchObject([
      { shard: "server", seq: 8, what: expect.stringMatching(/^checkpoint #2 .* written anew from an earlier state/) },
    ]);
    expect(completeness).toMatchObject([{ shard: "agent", seq: 5 }]);
  });
});
