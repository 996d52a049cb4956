import { expect, test } from "vitest";
import { descendants, listByPs, listProcesses, parseProcStat, parsePsLine, readProcess } from "./process-table.ts";

test("a process name with spaces and brackets does not confuse the reader", () => {
  const rest = "S 1 42 43 0 -1 4194304 1 2 3 4 100 50 25 5 20 0 1 0 987654 4096 3 18446744073709551615";
  const entry = parseProcStat(`77 (a) b (c) ${rest}`);
  expect(entry).toMatchObject({
    pid: 77,
    parentPid: 1,
    groupId: 42,
    sessionId: 43,
    startTime: "987654",
    zombie: false,
  });
  expect(entry?.cpuMs).toBe(1800);
  expect(parseProcStat("")).toBeUndefined();
});

test("ps tells the same as /proc about this process", () => {
  const [byPs] = listByPs(["-p", String(process.pid)]);
  const byProc = readProcess(process.pid);
  expect(byPs).toMatchObject({ pid: process.pid, parentPid: byProc?.parentPid, groupId: byProc?.groupId });
  expect(byPs?.residentBytes).toBeGreaterThan(1_000_000);
  expect(listByPs(["-p", "999999999"])).toEqual([]);
});

test("a line of ps is read with days, zombies and start times", () => {
  const line = "  501     1   501  2048 Z+   2-01:00:30.5 Thu Nov 20 20:11:01 2026  ";
  expect(parsePsLine(line)).toMatchObject({
    pid: 501,
    residentBytes: 2_097_152,
    zombie: true,
    startTime: "Thu Nov 20 20:11:01 2026",
  });
  expect(parsePsLine(line)?.cpuMs).toBe((2 * 86_400 + 3600 + 30.5) * 1000);
  expect(parsePsLine("garbage")).toBeUndefined();
});

test("descendants are found through any number of generations, from this machine's own list", () => {
  const list = listProcesses();
  const all = descendants(list, new Set([process.ppid]));
  expect(all.map((entry) => entry.pid)).toContain(process.pid);
  expect(descendants(list, new Set([process.pid])).map((entry) => entry.pid)).not.toContain(process.ppid);
});
