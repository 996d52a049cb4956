import { readFileSync, statSync } from "node:fs";
import { constants } from "node:os";
import { bootId } from "./boot-id.ts";
import { RECORD_BYTES } from "./launch-script.ts";
import type { ProcessIdentity } from "./process-identity.ts";
import { parseProcStat, readProcess } from "./process-table.ts";

/** How a process ended. */
export interface ProcessEnd {
  /** The exit code, -1 if a signal ended it or nobody saw how it ended. */
  code: number;
  /** "SIGKILL" and the like, empty if it exited. */
  signal: string;
  at: Date;
}

/** What a launch wrote down about itself; it outlives the agent. */
export interface LaunchStatus {
  attempt: number;
  /** True if it has a process namespace of its own. */
  contained: boolean;
  /** The shell that became `unshare`, or that runs the program itself. */
  wrapper: ProcessIdentity | undefined;
  /** The program's parent; undefined until everything is arranged. */
  init: ProcessIdentity | undefined;
  end: ProcessEnd | undefined;
}

/** Reads the status file of a launch; undefined if none was ever started there in this run of the machine. */
export function readLaunchStatus(stateDirectory: string): LaunchStatus | undefined {
  const path = `${stateDirectory}/status`;
  let text: string;
  let writtenAt: Date;
  try {
    text = readFileSync(path, "latin1");
    writtenAt = statSync(path).mtime;
  } catch {
    return undefined;
  }
  const lines = [0, 1, 2].map((index) => text.slice(index * RECORD_BYTES, (index + 1) * RECORD_BYTES).trim());
  const [first = "", second = "", third = ""] = lines;
  const wrapper = /^wrapper (\d+) (\S+) (\S+) (.*)$/.exec(first);
  if (!wrapper?.[4] || wrapper[3] !== bootId()) return undefined;
  const exit = /^exit (\d+)$/.exec(third)?.[1];
  return {
    attempt: Number(wrapper[1]),
    contained: wrapper[2] === "contained",
    wrapper: identityIn(wrapper[4]),
    init: second.startsWith("init ") ? identityIn(second.slice("init ".length)) : undefined,
    end: exit === undefined ? undefined : processEnd(Number(exit), writtenAt),
  };
}

function identityIn(stat: string): ProcessIdentity | undefined {
  const entry = parseProcStat(stat);
  if (!entry) return undefined;
  // Without /proc the shell knows its pid only.
  const startTime = entry.startTime || (readProcess(entry.pid)?.startTime ?? "");
  return { pid: entry.pid, startTime, bootId: bootId() };
}

const signalNames = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name]));

/** Reads a shell's exit status: 128 + n stands for signal n, as everywhere in Unix. */
export function processEnd(status: number, at: Date): ProcessEnd {
  const signal = status > 128 ? signalNames.get(status - 128) : undefined;
  return signal ? { code: -1, signal, at } : { code: status, signal: "", at };
}
