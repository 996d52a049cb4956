import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { accountingIn, findTrees, groupsOf } from "./control-group-trees.ts";
import { ControlGroups } from "./control-groups.ts";

/** A directory that looks like a mounted hierarchy. */
function hierarchy(files: Record<string, string>): string {
  const point = mkdtempSync(`${tmpdir()}/hms-cgroup-`);
  onTestFinished(() => rmSync(point, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(`${point}/${path}`.replace(/\/[^/]+$/, ""), { recursive: true });
    writeFileSync(`${point}/${path}`, text);
  }
  return point;
}

const mounted = (point: string, type: string, options: string) =>
  `31 23 0:28 / ${point} rw,relatime shared:9 - ${type} ${type} rw,${options}\n`;

test("version 2: the nearest group above that may be divided is used, and limits are written there", () => {
  const point = hierarchy({
    "cgroup.controllers": "cpuset cpu memory pids",
    "cgroup.subtree_control": "memory pids",
    "user/cgroup.controllers": "memory pids",
    "user/cgroup.subtree_control": "memory pids",
    "user/shell/cgroup.controllers": "memory pids",
    "user/shell/cgroup.subtree_control": "",
    "user/hms/cgroup.controllers": "memory pids",
    "user/hms/cgroup.subtree_control": "memory pids",
  });
  // A plain directory keeps what is written: the shell's group must look as if the kernel refused it.
  const trees = findTrees(mounted(point, "cgroup2", "nsdelegate"), "0::/user/shell/none\n", "hms");
  expect(trees).toHaveLength(1);
  expect(trees[0]?.base).toBe(`${point}/user/hms`);
  const groups = new ControlGroups(trees, "hms");
  expect([groups.limits("memory"), groups.limits("cpu")]).toEqual([true, false]);
  const limits = { memoryBytes: 1000, cpuMillicores: 250, maxProcesses: 9 };
  expect(Object.fromEntries(trees[0]?.limitFiles(limits) ?? [])).toEqual({
    "memory.max": "1000",
    "memory.swap.max": "0",
    "pids.max": "9",
  });
});

test("version 2: without a group that may be divided there are no limits", () => {
  const point = hierarchy({ "cgroup.controllers": "", "cgroup.subtree_control": "" });
  expect(findTrees(mounted(point, "cgroup2", "x"), "0::/\n", "hms")).toEqual([]);
});

test("version 1: each hierarchy gets a group below the agent's own, and limits in its own files", () => {
  const [memory, cpu] = [hierarchy({ "agent/x": "" }), hierarchy({ "agent/x": "" })];
  const mounts = mounted(memory, "cgroup", "memory") + mounted(cpu, "cgroup", "cpu,cpuacct");
  const trees = findTrees(mounts, "4:memory:/agent\n2:cpu,cpuacct:/agent\n", "hms");
  expect(trees.map((tree) => tree.base)).toEqual([`${memory}/agent/hms`, `${cpu}/agent/hms`]);
  const groups = new ControlGroups(trees, "hms");
  const group = groups.create("one", { memoryBytes: 5000, cpuMillicores: 1500, maxProcesses: 9 });
  expect(group.directories).toEqual([`${memory}/agent/hms/one`, `${cpu}/agent/hms/one`]);
  const read = (path: string) => readFileSync(path, "utf8");
  expect(read(`${memory}/agent/hms/one/memory.limit_in_bytes`)).toBe("5000");
  expect(read(`${cpu}/agent/hms/one/cpu.cfs_quota_us`)).toBe("150000");
  const found = groupsOf(mounts, "4:memory:/agent/hms/one\n2:cpu,cpuacct:/agent/hms/one\n");
  expect(found.map(({ directory }) => directory)).toEqual(group.directories);
});

test("what is counted leaves out the file cache that can be given back", () => {
  const point = hierarchy({
    "memory.current": "9000",
    "memory.stat": "anon 1\ninactive_file 4000\n",
    "memory.events": "low 0\noom 3\noom_kill 2\n",
    "cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
  });
  const counts = accountingIn({ version: 2, directory: point, controllers: new Set() });
  expect(counts).toEqual({ memoryBytes: 5000, cpuMs: 1500, memoryKills: 2 });
});
