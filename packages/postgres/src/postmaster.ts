import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import { SOCKET_PORT } from "./server-settings.ts";

/** A PostgreSQL server that runs on a data directory right now; enough to adopt it. */
export interface RunningPostmaster {
  pid: number;
  /** The kernel's start time of the process in clock ticks since boot; undefined where there is no /proc. */
  startTicks: number | undefined;
  /** When it started, milliseconds since 1970. */
  startedAtMs: number;
  /** What it says of itself. */
  state: "starting" | "stopping" | "ready" | "standby" | "unknown";
}

/** What postmaster.pid says, line by line, as PostgreSQL documents it in miscadmin.h. */
export function parsePostmasterPid(text: string): Omit<RunningPostmaster, "startTicks"> | undefined {
  const lines = text.split("\n").map((line) => line.trim());
  // A server in single-user mode writes its pid negated.
  const pid = Math.abs(Number(lines[0]));
  if (!Number.isInteger(pid) || pid === 0) return undefined;
  const known = ["starting", "stopping", "ready", "standby"] as const;
  const state = known.find((word) => word === lines[7]) ?? "unknown";
  return { pid, startedAtMs: Number(lines[2] ?? 0) * 1000, state };
}

const hasProc = existsSync("/proc/self/stat");

function workingFolder(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    // Gone, a zombie, or another user's: not a server of ours.
    return undefined;
  }
}

function startTicks(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  } catch {
    // The process ended in between.
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Every PostgreSQL process works in its data directory, which a reused pid does not. */
function worksIn(pid: number, dataFolder: string): boolean {
  return hasProc ? workingFolder(pid) === dataFolder : isAlive(pid);
}

/** The server that runs on this data directory, or undefined; a stale or foreign pid counts as none. */
export function runningPostmaster(dataFolder: string): RunningPostmaster | undefined {
  const file = `${dataFolder}/postmaster.pid`;
  if (!existsSync(file)) return undefined;
  const written = parsePostmasterPid(readFileSync(file, "utf8"));
  if (!written || !worksIn(written.pid, realpathSync(dataFolder))) return undefined;
  return { ...written, startTicks: startTicks(written.pid) };
}

function isPostgres(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "postgres";
  } catch {
    // The process ended in between.
    return false;
  }
}

/** Pids of servers' processes that still work in the data directory: what a killed server leaves for a moment. */
function leftovers(dataFolder: string): number[] {
  if (!hasProc) return [];
  const folder = realpathSync(dataFolder);
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => workingFolder(pid) === folder && isPostgres(pid));
}

const LEFTOVERS_DEADLINE_MS = 10_000;

/**
 * Makes a data directory ready for a new server: waits for the children of a killed one (at most 10 s), then removes
 * its lock files, whose pid may belong to any other process by now.
 * @throws HmsError FAILED_PRECONDITION if a server runs on it, UNAVAILABLE if its children do not end.
 */
export async function clearStaleServer(dataFolder: string, socketFolder: string): Promise<void> {
  const running = runningPostmaster(dataFolder);
  if (running) {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `A PostgreSQL server already runs on ${dataFolder} (process ${running.pid}). Two servers would destroy the data: adopt or stop that one first.`,
      { reason: "POSTGRES_ALREADY_RUNNING", metadata: { pid: String(running.pid) } },
    );
  }
  const deadline = Date.now() + LEFTOVERS_DEADLINE_MS;
  let left = leftovers(dataFolder);
  while (left.length > 0) {
    if (Date.now() > deadline) {
      throw new HmsError(
        "UNAVAILABLE",
        `Processes ${left.join(", ")} of an earlier PostgreSQL server still use ${dataFolder}. Wait until they end, or end them.`,
        { reason: "POSTGRES_LEFTOVERS" },
      );
    }
    await delay(20);
    left = leftovers(dataFolder);
  }
  const socket = `${socketFolder}/.s.PGSQL.${SOCKET_PORT}`;
  for (const file of [`${dataFolder}/postmaster.pid`, socket, `${socket}.lock`]) rmSync(file, { force: true });
}
