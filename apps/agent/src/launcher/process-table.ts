import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { platform } from "node:os";

/** One process as the machine lists it. */
export interface ProcessEntry {
  pid: number;
  parentPid: number;
  groupId: number;
  /** The session; on machines without /proc, the group. */
  sessionId: number;
  /** Changes when a pid is given to another process; compare for equality only. */
  startTime: string;
  /** Processor time of the process and its ended, waited-for children, in milliseconds. */
  cpuMs: number;
  /** Memory that is in RAM. */
  residentBytes: number;
  /** True if it has ended and waits to be noticed by its parent. */
  zombie: boolean;
}

const onLinux = platform() === "linux";
/** Linux counts processor time for user space in hundredths of a second on every architecture. */
const MS_PER_TICK = 10;

let pageBytesKnown: number | undefined;

function pageBytes(): number {
  if (pageBytesKnown === undefined) {
    try {
      pageBytesKnown = Number(execFileSync("/usr/bin/getconf", ["PAGESIZE"], { encoding: "utf8" })) || 4096;
    } catch {
      pageBytesKnown = 4096;
    }
  }
  return pageBytesKnown;
}

/** Reads one line of /proc/PID/stat; undefined if it is not one. */
export function parseProcStat(line: string): ProcessEntry | undefined {
  const nameEnd = line.lastIndexOf(")");
  const pid = Number.parseInt(line, 10);
  if (nameEnd < 0 || !(pid > 0)) return undefined;
  // The fields after the name: state is the third of the whole line.
  const field = line.slice(nameEnd + 2).split(" ");
  const at = (numberInManual: number) => field[numberInManual - 3] ?? "";
  const ticks = Number(at(14)) + Number(at(15)) + Number(at(16)) + Number(at(17));
  return {
    pid,
    parentPid: Number(at(4)),
    groupId: Number(at(5)),
    sessionId: Number(at(6)),
    startTime: at(22),
    cpuMs: ticks * MS_PER_TICK,
    residentBytes: Number(at(24)) * pageBytes(),
    zombie: at(3) === "Z" || at(3) === "X",
  };
}

function readFromProc(pid: number): ProcessEntry | undefined {
  try {
    return parseProcStat(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    // ENOENT or ESRCH: it ended meanwhile.
    return undefined;
  }
}

/** Reads one line of `ps -o pid=,ppid=,pgid=,rss=,stat=,time=,lstart=`; undefined if it is not one. */
export function parsePsLine(line: string): ProcessEntry | undefined {
  const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s+(\d+)\s+(\S+)\s+(?:(\d+)-)?([\d:.]+)\s+(.+?)\s*$/.exec(line);
  if (!match) return undefined;
  const [, pid, parentPid, groupId, residentKb, state, days, clock, startTime] = match;
  const seconds = (clock ?? "").split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
  return {
    pid: Number(pid),
    parentPid: Number(parentPid),
    groupId: Number(groupId),
    sessionId: Number(groupId),
    startTime: startTime ?? "",
    cpuMs: (Number(days ?? 0) * 86_400 + seconds) * 1000,
    residentBytes: Number(residentKb) * 1024,
    zombie: state?.startsWith("Z") ?? false,
  };
}

/** Asks ps, for machines without /proc. */
export function listByPs(selection: readonly string[]): ProcessEntry[] {
  const columns = "pid=,ppid=,pgid=,rss=,stat=,time=,lstart=";
  try {
    const text = execFileSync("/bin/ps", [...selection, "-o", columns], { encoding: "utf8", maxBuffer: 64 << 20 });
    return text.split("\n").flatMap((line) => parsePsLine(line) ?? []);
  } catch {
    // ps exits 1 if nothing matches.
    return [];
  }
}

/** The process with this pid; undefined if there is none. */
export function readProcess(pid: number): ProcessEntry | undefined {
  return onLinux ? readFromProc(pid) : listByPs(["-p", String(pid)])[0];
}

/** Every process that this one may see. */
export function listProcesses(): ProcessEntry[] {
  if (!onLinux) return listByPs(["-ax"]);
  return readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? (readFromProc(Number(name)) ?? []) : []));
}

/** The processes of the list that descend from one of the roots, the roots included. */
export function descendants(list: readonly ProcessEntry[], roots: ReadonlySet<number>): ProcessEntry[] {
  const children = new Map<number, ProcessEntry[]>();
  for (const entry of list) {
    const siblings = children.get(entry.parentPid);
    if (siblings) siblings.push(entry);
    else children.set(entry.parentPid, [entry]);
  }
  const found = new Map<number, ProcessEntry>();
  const queue = list.filter((entry) => roots.has(entry.pid));
  for (let entry = queue.pop(); entry; entry = queue.pop()) {
    if (found.has(entry.pid)) continue;
    found.set(entry.pid, entry);
    queue.push(...(children.get(entry.pid) ?? []));
  }
  return [...found.values()];
}
