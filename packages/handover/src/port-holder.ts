import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { hexAddress, hexPort, readSocketTable } from "./socket-table.ts";

/** A process that has a port. */
export interface PortHolder {
  pid: number;
  name: string;
}

const LISTENS = "0A";
const ANY_IPV4 = "00000000";
const ANY_IPV6 = "0".repeat(32);

/**
 * Who has a port of this machine, as far as this user may see; undefined if nobody or unknown. With an address only
 * those count that would receive what is sent there.
 */
export function portHolder(
  port: number,
  { address, protocol = "tcp" }: { address?: string; protocol?: "tcp" | "udp" } = {},
): PortHolder | undefined {
  const wanted = `:${hexPort(port)}`;
  const exact = address === undefined ? undefined : [hexAddress(address, port), ANY_IPV4 + wanted, ANY_IPV6 + wanted];
  const entries = protocol === "tcp" ? [...readSocketTable("tcp"), ...readSocketTable("tcp6")] : readSocketTable("udp");
  const inodes = entries
    .filter(({ state }) => protocol === "udp" || state === LISTENS)
    .filter(({ local }) => (exact ? exact.includes(local) : local.endsWith(wanted)))
    .map(({ inode }) => `socket:[${inode}]`);
  return inodes.length === 0 ? undefined : findHolder(new Set(inodes));
}

function findHolder(inodes: ReadonlySet<string>): PortHolder | undefined {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.map((pid) => holderIf(pid, inodes)).find(Boolean);
}

function holderIf(pid: string, inodes: ReadonlySet<string>): PortHolder | undefined {
  try {
    const holds = readdirSync(`/proc/${pid}/fd`).some((fd) => inodes.has(readlinkSync(`/proc/${pid}/fd/${fd}`)));
    return holds ? { pid: Number(pid), name: nameOf(pid) } : undefined;
  } catch {
    // It ended meanwhile, or belongs to somebody else.
    return undefined;
  }
}

/** What people know it by: the kernel's own name of a process is that of its first thread, "MainThread" for Node. */
function nameOf(pid: string): string {
  const [program = ""] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  return basename(program) || readFileSync(`/proc/${pid}/comm`, "utf8").trim();
}
