import { writeFileSync } from "node:fs";
import { tempFolder } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { parsePostmasterPid, runningPostmaster } from "./postmaster.ts";

const text = "4711\n/d/postgres\n1795208422\n5432\n/d/run/pg\n\n  1234567   8\nready   \n";

describe("postmaster.pid", () => {
  test("tells pid, start and state", () => {
    expect(parsePostmasterPid(text)).toEqual({ pid: 4711, startedAtMs: 1_795_208_422_000, state: "ready" });
  });

  test("half written tells at least the pid, and empty nothing", () => {
    expect(parsePostmasterPid("4711\n")).toMatchObject({ pid: 4711, state: "unknown" });
    expect(parsePostmasterPid("")).toBeUndefined();
  });

  test("with the pid of some other process means that no server runs", () => {
    using folder = tempFolder();
    writeFileSync(`${folder.path}/postmaster.pid`, text.replace("4711", String(process.pid)));
    expect(runningPostmaster(folder.path)).toBeUndefined();
  });
});
