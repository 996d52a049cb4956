import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { SPOOL_BYTES, spoolSizes } from "@hms/audit-spool";
import { audit } from "@hms/contracts";
import { tempFolder } from "@hms/testkit";
import { expect, test } from "vitest";
import { auditFindings, spoolSizeFindings } from "./audit-findings.ts";

const now = Date.parse("2026-01-31T12:00:00Z");
const findings = (init: Parameters<typeof create<typeof audit.GetAuditStatusResponseSchema>>[1]) =>
  auditFindings(create(audit.GetAuditStatusResponseSchema, init), now).map(
    ({ level, finding }) => `${level}: ${finding}`,
  );

test("an audit log that is well says how far it is", () => {
  const checkpointTime = timestampFromMs(now - 60_000);
  const shards = [
    { shard: "server", seq: 5n },
    { shard: "agent", seq: 2n },
  ];
  expect(findings({ shards, checkpointTime, checkpointNumber: 3n })).toEqual(["ok: 7 events, checkpoint #3"]);
});

test("a spool that is full or not emptied, late checkpoints and a silent sink are told", () => {
  const shards = [
    { shard: "server", waitingBytes: 256n * 1024n ** 2n, full: true },
    { shard: "agent", waitingBytes: 20n * 1024n ** 2n },
  ];
  const checkpointTime = timestampFromMs(now - 600_000);
  const late = { checkpointTime, checkpointNumber: 3n, sink: "https://safe", sinkBehind: 9n };
  expect(findings({ shards, failure: "PostgreSQL is away.", ...late })).toEqual([
    "problem: PostgreSQL is away.",
    expect.stringMatching(/^problem: the spool of server is full .* refused there, reads go on$/),
    expect.stringMatching(/^warning: .* of agent wait to come into the log$/),
    expect.stringMatching(/^warning: the last checkpoint, #3, is older/),
    "warning: 9 checkpoints wait for https://safe",
  ]);
});

test("a spool that is full or half full is told by what lies on the disk, though nobody answers who could say it", () => {
  using folder = tempFolder();
  const told = () => spoolSizeFindings(spoolSizes(folder.path)).map(({ level, finding }) => `${level}: ${finding}`);
  expect(spoolSizeFindings(spoolSizes(`${folder.path}/none`))).toEqual([]);
  for (const [name, bytes] of [
    ["agent", 1000],
    ["mesh", SPOOL_BYTES / 2],
    ["server", SPOOL_BYTES],
    ["small", 3000],
  ] as const) {
    mkdirSync(`${folder.path}/${name}`);
    writeFileSync(`${folder.path}/${name}/0000000001.spool`, "");
    // Without content: it takes no room.
    truncateSync(`${folder.path}/${name}/0000000001.spool`, bytes);
  }
  writeFileSync(`${folder.path}/small/limit`, "3000\n");
  expect(told().sort()).toEqual([
    "problem: the spool of server holds 256 MiB of 256 MiB: it is full, what would change something is refused there",
    expect.stringMatching(/^problem: the spool of small holds .*: it is full/),
    "warning: the spool of mesh holds 128 MiB of 256 MiB",
  ]);
});
