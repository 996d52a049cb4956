import { accessSync, constants, mkdirSync, readFileSync, writeFileSync } from "node:fs";

/** What one program may use; 0 or absent is no limit. */
export interface GroupLimits {
  memoryBytes?: number | undefined;
  cpuMillicores?: number | undefined;
  maxProcesses?: number | undefined;
}

/** One hierarchy of control groups in which we may make our own. */
export interface ControlGroupTree {
  version: 1 | 2;
  /** The directory that holds one group per program. */
  base: string;
  /** What can be limited here. */
  controllers: ReadonlySet<string>;
  /** The files that set the limits, with their values. */
  limitFiles(limits: GroupLimits): [file: string, value: string][];
  /** Files that some kernels do not have. */
  optional: ReadonlySet<string>;
}

const PERIOD_US = 100_000;
const quotaUs = (millicores: number) => Math.max(1000, Math.round((millicores * PERIOD_US) / 1000));

/** One mounted hierarchy, and where a process is in it. */
interface Hierarchy {
  version: 1 | 2;
  point: string;
  /** The directory of the process's group. */
  own: string;
  controllers: ReadonlySet<string>;
}

/** Reads /proc/self/mountinfo and the /proc/PID/cgroup of a process. */
function hierarchies(mountinfo: string, groupsOfProcess: string): Hierarchy[] {
  const paths = groupPaths(groupsOfProcess);
  return mountinfo
    .trim()
    .split("\n")
    .flatMap((line) => hierarchyIn(line, paths) ?? []);
}

function groupPaths(groupsOfProcess: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of groupsOfProcess.trim().split("\n")) {
    const [, controllers = "", path = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    for (const controller of controllers.split(",")) paths.set(controller, path);
  }
  return paths;
}

function hierarchyIn(mountLine: string, paths: ReadonlyMap<string, string>): Hierarchy | undefined {
  const [before = "", after = ""] = mountLine.split(" - ");
  const [, , , root = "/", point = ""] = before.split(" ");
  const [type, , superOptions = ""] = after.split(" ");
  if (type !== "cgroup" && type !== "cgroup2") return undefined;
  const known = ["memory", "cpu", "cpuacct", "pids"];
  const controllers = new Set(superOptions.split(",").filter((option) => known.includes(option)));
  const [first] = controllers;
  const path = paths.get(type === "cgroup" ? (first ?? "none") : "");
  if (path === undefined) return undefined;
  const own = (point + (root === "/" ? path : path.slice(root.length))).replace(/\/$/, "");
  return { version: type === "cgroup" ? 1 : 2, point, own, controllers };
}

/** Tries in which hierarchies this process may make groups; `name` is the installation's own part of them. */
export function findTrees(mountinfo: string, ownGroups: string, name: string): ControlGroupTree[] {
  return hierarchies(mountinfo, ownGroups).flatMap((hierarchy) => {
    return (hierarchy.version === 1 ? firstVersion(hierarchy, name) : secondVersion(hierarchy, name)) ?? [];
  });
}

/** The groups that a process is in. */
export function groupsOf(mountinfo: string, groupsOfProcess: string): CountingGroup[] {
  return hierarchies(mountinfo, groupsOfProcess).map((each) => ({
    version: each.version,
    directory: each.own,
    controllers: each.controllers,
  }));
}

function firstVersion({ own, controllers }: Hierarchy, name: string): ControlGroupTree | undefined {
  const base = `${own}/${name}`;
  if (!made(base)) return undefined;
  const limitFiles = ({ memoryBytes, cpuMillicores, maxProcesses }: GroupLimits): [string, string][] => [
    ...pair(controllers.has("memory") && memoryBytes, "memory.limit_in_bytes", String),
    ...pair(controllers.has("memory") && memoryBytes, "memory.memsw.limit_in_bytes", String),
    ...pair(controllers.has("cpu") && cpuMillicores, "cpu.cfs_period_us", () => String(PERIOD_US)),
    ...pair(controllers.has("cpu") && cpuMillicores, "cpu.cfs_quota_us", (each) => String(quotaUs(each))),
    ...pair(controllers.has("pids") && maxProcesses, "pids.max", String),
  ];
  return { version: 1, base, controllers, limitFiles, optional: new Set(["memory.memsw.limit_in_bytes"]) };
}

function secondVersion({ own, point }: Hierarchy, name: string): ControlGroupTree | undefined {
  // A group with processes cannot be divided, so the nearest one above that can is used.
  for (let parent = own; parent.startsWith(point); parent = parent.slice(0, parent.lastIndexOf("/"))) {
    const base = `${parent}/${name}`;
    enable(parent);
    if (!words(`${parent}/cgroup.subtree_control`).includes("memory") || !made(base)) continue;
    const controllers = new Set(enable(base));
    if (!controllers.has("memory")) continue;
    const limitFiles = ({ memoryBytes, cpuMillicores, maxProcesses }: GroupLimits): [string, string][] => [
      ...pair(memoryBytes, "memory.max", String),
      ...pair(memoryBytes, "memory.swap.max", () => "0"),
      ...pair(controllers.has("cpu") && cpuMillicores, "cpu.max", (each) => `${quotaUs(each)} ${PERIOD_US}`),
      ...pair(controllers.has("pids") && maxProcesses, "pids.max", String),
    ];
    return { version: 2, base, controllers, limitFiles, optional: new Set(["memory.swap.max"]) };
  }
  return undefined;
}

function pair(
  limit: number | false | undefined,
  file: string,
  value: (limit: number) => string,
): [file: string, value: string][] {
  return limit ? [[file, value(limit)]] : [];
}

function enable(directory: string): string[] {
  const file = `${directory}/cgroup.subtree_control`;
  for (const controller of words(`${directory}/cgroup.controllers`)) {
    if (!["memory", "cpu", "pids"].includes(controller) || words(file).includes(controller)) continue;
    try {
      writeFileSync(file, `+${controller}`);
    } catch {
      // Not ours to divide; what is enabled already is read below.
    }
  }
  return words(file);
}

function made(directory: string): boolean {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    // EACCES or EROFS: this hierarchy belongs to somebody else.
    return false;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

const words = (path: string) => (read(path) ?? "").split(/\s+/).filter(Boolean);
const numberIn = (path: string) => {
  const text = read(path);
  return text === undefined ? undefined : Number(text);
};
const lineIn = (path: string, key: string) => {
  const match = new RegExp(`^${key} (\\d+)$`, "m").exec(read(path) ?? "");
  return match ? Number(match[1]) : undefined;
};

/** What one group of a tree has counted; each part undefined if this tree does not count it. */
export interface GroupAccounting {
  memoryBytes?: number | undefined;
  cpuMs?: number | undefined;
  memoryKills?: number | undefined;
}

/** One group of one hierarchy. */
export interface CountingGroup {
  version: 1 | 2;
  directory: string;
  controllers: ReadonlySet<string>;
}

/** Reads the counters of one group. Memory leaves out the file cache that the kernel would give back at once. */
export function accountingIn({ version, directory, controllers }: CountingGroup): GroupAccounting {
  if (version === 2) {
    const cpuUs = lineIn(`${directory}/cpu.stat`, "usage_usec");
    return {
      memoryBytes: minus(numberIn(`${directory}/memory.current`), lineIn(`${directory}/memory.stat`, "inactive_file")),
      cpuMs: cpuUs === undefined ? undefined : cpuUs / 1000,
      memoryKills: lineIn(`${directory}/memory.events`, "oom_kill"),
    };
  }
  const cpuNs = controllers.has("cpuacct") ? numberIn(`${directory}/cpuacct.usage`) : undefined;
  const inMemory = controllers.has("memory");
  const cache = inMemory ? lineIn(`${directory}/memory.stat`, "total_inactive_file") : undefined;
  return {
    memoryBytes: inMemory ? minus(numberIn(`${directory}/memory.usage_in_bytes`), cache) : undefined,
    cpuMs: cpuNs === undefined ? undefined : cpuNs / 1e6,
    memoryKills: inMemory ? lineIn(`${directory}/memory.oom_control`, "oom_kill") : undefined,
  };
}

function minus(total: number | undefined, part: number | undefined): number | undefined {
  return total === undefined ? undefined : Math.max(0, total - (part ?? 0));
}
