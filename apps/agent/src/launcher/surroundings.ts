import { release } from "node:os";
import { dirname } from "node:path";
import type { HostEnvironment, InstanceNetwork, InstancePaths } from "@hms/config";
import { agent } from "@hms/contracts";
import { isOpenToAll, isReadableByAll, lockedMountFlags, readHostLayout } from "./host-layout.ts";
import type { Sandbox } from "./launch-script.ts";
import { type HostLayout, isUnder, planMounts, type VisibleDirectory } from "./mount-plan.ts";

/** What one launch needs of the machine. */
export interface SandboxWish {
  /** A number that belongs to this launch alone: a port of the installation's replica range. */
  slot: number;
  directory: string;
  /** True for a build; a replica never writes where its program lies. */
  writable?: boolean | undefined;
  /** A directory on disk for /tmp; memory if absent. */
  temporaryDirectory?: string | undefined;
  /** True for a replica: it may call the platform, and answer calls, on sockets. */
  ffi?: boolean | undefined;
  /** The name server that the program shall ask. */
  dnsAddress?: string | undefined;
}

/** Above what systemd gives to containers (up to 1 879 048 191). */
const UID_BASE = 2_100_000_000;
const SLOTS = 65_536;

/**
 * The uid, and gid, of what runs in a slot; below the largest number that every file system holds. Installations that
 * run at the same time have different address ranges ("127.88"), so they never share a uid.
 */
export function uidOf(vipPrefix: string, slot: number): number {
  return UID_BASE + Number(vipPrefix.split(".")[1]) * SLOTS + slot;
}

/** Where replicas see the platform's Node if it lies where their users may not go. */
const NODE_WHERE_HIDDEN = "/tmp/.hms-node";

/** The installation that something is launched for. */
interface Installation {
  paths: InstancePaths;
  host: HostEnvironment;
  /** Unset while it is only tried whether anything can be launched. */
  network?: Pick<InstanceNetwork, "vipPrefix">;
}

/** Nobody's: installations begin at 127.88. */
const NO_PREFIX = "127.0";

/** Makes the sandboxes of one installation on this machine. */
export class Surroundings {
  readonly isolation: agent.Isolation;
  /** Where the launcher's own tools are found: the system's first, so that nothing in a home directory shadows them. */
  readonly toolPath: string;
  /** The PATH of every replica: the operator's, then the platform's own Node. */
  readonly programPath: string;
  readonly #layout: HostLayout;
  readonly #vipPrefix: string;
  readonly #node: { source: string; target: string };
  readonly #pathEntries: readonly string[];
  readonly #buildVariables: Readonly<Record<string, string>>;
  readonly #ffi: readonly VisibleDirectory[];

  constructor(isolation: agent.Isolation, { paths, host, network }: Installation) {
    this.isolation = isolation;
    this.#vipPrefix = network?.vipPrefix ?? NO_PREFIX;
    this.#layout = readHostLayout(host.home, [paths.data, paths.run, paths.config]);
    this.#buildVariables = host.buildVariables;
    this.#ffi = [
      { source: paths.ffi, target: paths.ffi, writable: false },
      { source: paths.ffiServices, target: paths.ffiServices, writable: true },
    ];
    const source = dirname(process.execPath);
    this.#node = { source, target: this.#isShown(source) ? source : NODE_WHERE_HIDDEN };
    this.#pathEntries = [...new Set(host.path.split(":"))].filter((entry) => entry.startsWith("/"));
    const system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    this.toolPath = [...new Set([...system, ...this.#pathEntries])].join(":");
    const reachable = this.#pathEntries.filter((entry) => this.#isReachable(entry));
    this.programPath = [...new Set([...reachable, this.#node.target])].join(":");
  }

  /** True if programs have namespaces of their own. */
  get contained(): boolean {
    return this.isolation !== agent.Isolation.NONE;
  }

  /**
   * True if the kernel counts a program's processes apart from the operator's: for a uid of its own always, in a user
   * namespace since Linux 5.14.
   */
  get countsProcesses(): boolean {
    if (this.isolation === agent.Isolation.OWN_UID) return true;
    const [major = 0, minor = 0] = release().split(".").map(Number);
    return this.contained && (major > 5 || (major === 5 && minor >= 14));
  }

  /** The sandbox of one launch; undefined if the machine refuses namespaces. */
  sandbox(wish: SandboxWish): Sandbox | undefined {
    if (!this.contained) return undefined;
    const { slot, directory, writable = false } = wish;
    const mounts = planMounts(this.#layout, {
      release: { source: directory, target: directory, writable },
      shared: wish.ffi ? this.#ffi.filter(({ source }) => this.#layout.isDirectory(source)) : [],
      pathEntries: this.#pathEntries,
      node: this.#node,
      temporaryDirectory: wish.temporaryDirectory,
      resolvConf: wish.dnsAddress ? resolvConfText(wish.dnsAddress) : undefined,
    });
    const ownUid = this.isolation === agent.Isolation.OWN_UID;
    return {
      kind: ownUid ? "own-uid" : "user-namespace",
      uid: ownUid ? uidOf(this.#vipPrefix, slot) : (process.getuid?.() ?? 0),
      gid: ownUid ? uidOf(this.#vipPrefix, slot) : (process.getgid?.() ?? 0),
      mounts,
      lockedFlags: lockedMountFlags,
    };
  }

  /** False for directories behind a door that the program's user may not pass: a shell stops searching there. */
  #isReachable(directory: string): boolean {
    const real = this.#layout.realPath(directory);
    if (real === undefined || !this.#layout.isDirectory(real)) return false;
    return this.#isShown(real);
  }

  #isShown(directory: string): boolean {
    const boundBack = isUnder(directory, this.#layout.home);
    return boundBack || this.isolation !== agent.Isolation.OWN_UID || isOpenToAll(directory);
  }

  /**
   * The operator's proxies, registries and CA certificates, for builds. Files that a build cannot see are left out and
   * named: most programs that are told of a CA file and do not find it trust nobody.
   */
  buildVariables(): { env: Record<string, string>; unseen: string[] } {
    const all = Object.entries(this.#buildVariables);
    const unseen = all.filter(([, value]) => value.startsWith("/") && !this.#isSeenByBuilds(value));
    const env = Object.fromEntries(all.filter((entry) => !unseen.includes(entry)));
    return { env, unseen: unseen.map(([name, value]) => `${name}=${value}`) };
  }

  #isSeenByBuilds(path: string): boolean {
    const real = this.#layout.realPath(path);
    if (real === undefined) return false;
    const mounts = this.sandbox({ slot: 0, directory: "/" })?.mounts;
    const hidden = [...(mounts?.masks ?? []), ...(mounts?.privates ?? []).map((each) => each.path)];
    if (hidden.some((each) => isUnder(real, each) || isUnder(path, each))) return false;
    return this.isolation !== agent.Isolation.OWN_UID || isReadableByAll(real);
  }

  /** Where the operator's programs of that name lie, seen from outside any sandbox. */
  get operatorPath(): readonly string[] {
    return this.#pathEntries;
  }
}

/** One attempt of two seconds at our own server; names without a dot are asked for as they are, before any search list. */
function resolvConfText(dnsAddress: string): string {
  return `nameserver ${dnsAddress}\noptions ndots:1 timeout:2\n`;
}
