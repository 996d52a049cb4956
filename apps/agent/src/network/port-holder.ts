import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A process that listens on a port. */
export interface PortHolder {
  pid: number;
  name: string;
}

const LISTEN = "0A";

/** Who listens on a TCP port of this machine, as far as this user may see; undefined if nobody or unknown. */
export function portHolder(port: number): PortHolder | undefined {
  if (process.platform !== "linux") return undefined;
  const inodes = new Set(["/proc/net/tcp", "/proc/net/tcp6"].flatMap((table) => listeningInodes(table, port)));
  if (inodes.size === 0) return undefined;
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => holderIf(pid, inodes))
    .find(Boolean);
}

function listeningInodes(table: string, port: number): string[] {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  try {
    return readFileSync(table, "latin1")
      .split("\n")
      .slice(1)
      .map((line) => line.trim().split(/\s+/))
      .filter((field) => field[3] === LISTEN && field[1]?.endsWith(`:${hex}`))
      .map((field) => `socket:[${field[9]}]`);
  } catch {
    // A machine without IPv6 has no tcp6 table.
    return [];
  }
}

function holderIf(pid: string, inodes: ReadonlySet<string>): PortHolder | undefined {
  try {
    const holds = readdirSync(`/proc/${pid}/fd`).some((fd) => inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`)));
    return holds ? { pid: Number(pid), name: readFileSync(`/proc/${pid}/comm`, "utf8").trim() } : undefined;
  } catch {
    // It ended meanwhile, or belongs to somebody else.
    return undefined;
  }
}
