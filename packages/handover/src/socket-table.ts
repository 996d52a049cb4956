import { readFileSync, readlinkSync } from "node:fs";
import { endianness } from "node:os";

/** One line of /proc/net/tcp or udp (proc(5)). */
export interface SocketEntry {
  /** Address and port in the kernel's hexadecimal form. */
  local: string;
  remote: string;
  /** "0A" listens, "01" is established. */
  state: string;
  /** Bytes to read; of a listening socket: connections that nobody has accepted yet. */
  queued: number;
  /** 0 while no process has the socket, as long as it waits to be accepted for example. */
  inode: string;
}

/** Every IPv4 or IPv6 socket of this network namespace; none where the table does not exist. */
export function readSocketTable(table: "tcp" | "tcp6" | "udp"): SocketEntry[] {
  try {
    return readFileSync(`/proc/net/${table}`, "latin1").split("\n").slice(1, -1).map(parseLine);
  } catch {
    // Not Linux, or a machine without IPv6.
    return [];
  }
}

function parseLine(line: string): SocketEntry {
  const [, local = "", remote = "", state = "", queues = "", , , , , inode = ""] = line.trim().split(/\s+/);
  return { local, remote, state, queued: Number.parseInt(queues.split(":")[1] ?? "0", 16), inode };
}

/** The kernel's form of a port, "0050" for 80. */
export function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}

/** The kernel's form of an IPv4 address and port, "0100007F:0050" on most machines. */
export function hexAddress(address: string, port: number): string {
  const bytes = address.split(".").map((byte) => Number(byte).toString(16).toUpperCase().padStart(2, "0"));
  if (endianness() === "LE") bytes.reverse();
  return `${bytes.join("")}:${hexPort(port)}`;
}

/** The inode of one of this process's own sockets, as the tables show it; undefined if it cannot be known. */
export function inodeOf(fd: number): string | undefined {
  return inodeAt(`/proc/self/fd/${fd}`);
}

/** The inode of the socket that a descriptor's path in /proc stands for; undefined if it is none, or gone. */
export function inodeAt(path: string): string | undefined {
  try {
    return /^socket:\[(\d+)\]$/.exec(readlinkSync(path))?.[1];
  } catch {
    return undefined;
  }
}
