import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { waitFor } from "./wait-for.ts";

/** A process as /proc shows it. */
export interface ProcessEntry {
  pid: number;
  parent: number;
  command: string;
  cwd: string;
}

function readProcess(pid: number): ProcessEntry | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie has ended; only its parent has not asked yet.
    if (state === "Z" || state === "X") return undefined;
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim();
    return { pid, parent: Number(parent), command, cwd: readCwd(pid) };
  } catch {
    // It ended while we looked.
    return undefined;
  }
}

function readCwd(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    // Not ours to look into.
    return "";
  }
}

function allProcesses(): ProcessEntry[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProcess(Number(name)))
    .filter((entry) => entry !== undefined);
}

/** Children of this process, their children and so on, and every process that works in or names `folder`. */
function related(folder: string | undefined): ProcessEntry[] {
  const all = allProcesses();
  const family = new Set([process.pid]);
  for (let size = 0; size !== family.size; ) {
    size = family.size;
    for (const { pid, parent } of all) if (family.has(parent)) family.add(pid);
  }
  family.delete(process.pid);
  const touches = ({ command, cwd }: ProcessEntry) =>
    folder !== undefined && (command.includes(folder) || cwd.startsWith(folder));
  return all.filter((entry) => entry.pid !== process.pid && (family.has(entry.pid) || touches(entry)));
}

/** What has been started since collectProcesses() was called. */
export interface ProcessCollection {
  /** Those that run now. */
  running(): ProcessEntry[];
  /** Resolves once none of them runs. @throws Error that lists those left after `deadlineMs`, default 5000. */
  assertNoneLeft(deadlineMs?: number): Promise<void>;
}

/**
 * Notes which processes of this test exist now, to prove later that none has been left behind. Give the installation's
 * folder to find also those that have detached themselves. Linux only.
 */
export function collectProcesses(folder?: string): ProcessCollection {
  const before = new Set(related(folder).map(({ pid }) => pid));
  const running = () => related(folder).filter(({ pid }) => !before.has(pid));
  const list = () => running().map(({ pid, command }) => `${pid} ${command}`);
  return {
    running,
    assertNoneLeft: async (deadlineMs = 5000) => {
      const describe = () => `these processes to end: ${list().join(" · ")}`;
      await waitFor(() => running().length === 0, { deadlineMs, describe });
    },
  };
}
