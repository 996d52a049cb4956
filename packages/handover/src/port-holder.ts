import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { hexAddress, hexPort, inodeAt, readSocketTable } from "./socket-table.ts";

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
    .map(({ inode }) => String(inode));
  return inodes.length === 0 ? undefined : findHolder(new Set(inodes));
}

function findHolder(inodes: ReadonlySet<string>): PortHolder | undefined {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.map((pid) => holderIf(pid, inodes)).find(Boolean);
}

function holderIf(pid: string, inodes: ReadonlySet<string>): PortHolder | undefined {
  try {
    return openIn(pid, inodes).length > 0 ? { pid: Number(pid), name: nameOf(pid) } : undefined;
  } catch {
    // It ended meanwhile.
    return undefined;
  }
}

/** Which of these sockets, by inode, other processes have open, too, as far as this user may see. */
export function heldElsewhere(inodes: ReadonlySet<string>): Set<string> {
  const found = new Set<string>();
  for (const pid of readdirSync("/proc")) {
    if (/^\d+$/.test(pid) && Number(pid) !== process.pid) for (const inode of openIn(pid, inodes)) found.add(inode);
  }
  return found;
}

function openIn(pid: string, inodes: ReadonlySet<string>): string[] {
  return descriptorsOf(pid).flatMap((fd) => {
    const inode = inodeAt(`/proc/${pid}/fd/${fd}`);
    return inode !== undefined && inodes.has(inode) ? [inode] : [];
  });
}

function descriptorsOf(pid: string): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    // It has ended, or belongs to somebody else.
    return [];
  }
}

/** What people know it by: the kernel's own name of a process is that of its first thread, "MainThread" for Node. */
function nameOf(pid: string): string {
  const [program = ""] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  return basename(program) || readFileSync(`/proc/${pid}/comm`, "utf8").trim();
}
