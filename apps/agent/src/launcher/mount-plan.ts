import { isAbsolute, normalize } from "node:path";

/** A directory that a replica sees although it lies under a hidden one. */
export interface VisibleDirectory {
  /** Where it is. */
  source: string;
  /** Where the replica sees it. */
  target: string;
  writable: boolean;
}

/** What a replica's file system differs in from the machine's. */
export interface MountPlan {
  /** Directories replaced by empty, read-only ones; none lies under another. */
  masks: readonly string[];
  /** Sockets replaced by /dev/null. */
  blocked: readonly string[];
  /** Directories replaced by private, writable ones. */
  privates: readonly PrivateDirectory[];
  visible: readonly VisibleDirectory[];
  /** Replaces the file at `target`. */
  resolvConf?: { target: string; text: string } | undefined;
}

/** A private, writable directory; in memory unless it has a source. */
interface PrivateDirectory {
  path: string;
  /** A directory on disk to use instead of memory. */
  source?: string | undefined;
  /** The most it may hold when it is in memory. */
  megabytes: number;
}

/** What the machine looks like, as far as hiding things is concerned. */
export interface HostLayout {
  /** Real path of the operator's home directory. */
  home: string;
  /** Real paths of the installation's own directories. */
  own: readonly string[];
  /** The directories that exist, of those asked for. */
  isDirectory(path: string): boolean;
  /** True for a socket or file that exists. */
  isFile(path: string): boolean;
  /** The names in a directory; none if it cannot be read. */
  names(path: string): readonly string[];
  /** The path without symbolic links; undefined if nothing is there. */
  realPath(path: string): string | undefined;
}

/** What one replica, task or build needs to see. */
export interface MountWishes {
  release: VisibleDirectory;
  /** Further directories of the installation's that it may use. */
  shared?: readonly VisibleDirectory[];
  /** The operator's PATH entries, in order. */
  pathEntries: readonly string[];
  /** The directory of the platform's Node, and where it shall be seen. */
  node: { source: string; target: string };
  /** A directory on disk for /tmp; memory if absent. */
  temporaryDirectory?: string | undefined;
  /** The text of the replica's own resolv.conf, if names go by DNS. */
  resolvConf?: string | undefined;
}

/** Where the resolver reads its name servers. */
export const RESOLV_CONF = "/etc/resolv.conf";

/** A home in one of these is no home: hiding it would hide the system itself. */
const SYSTEM =
  /^\/(?:usr|bin|sbin|lib\w*|etc|opt|proc|sys|dev|boot|nix)(?:\/|$)|^\/(?:var|home|srv|mnt|media|run|tmp|var\/lib)?$/;
/** Session sockets, key agents, and the helpers that would resolve names behind resolv.conf's back. */
const DOORS = ["/run/user", "/run/dbus", "/run/systemd/resolve", "/run/nscd", "/run/containerd", "/run/podman"];
const SOCKETS = ["/run/docker.sock", "/var/run/docker.sock", "/run/crio/crio.sock", "/run/systemd/private"];
/** A directory that holds one of these beside its programs is more than a tool chain. */
const CREDENTIALS = /^(?:credentials|auth|tokens?|secrets?|config|\.npmrc|\.netrc|id_)|\.(?:pem|key|token)$/i;

/** True if `path` is `directory` or lies in it. */
export function isUnder(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

/** Decides what a replica sees: pure, so that what is hidden can be tested without a namespace. */
export function planMounts(host: HostLayout, wishes: MountWishes): MountPlan {
  const privates: PrivateDirectory[] = [
    { path: "/tmp", source: wishes.temporaryDirectory, megabytes: 1024 },
    { path: "/var/tmp", megabytes: 256 },
    { path: "/dev/shm", megabytes: 256 },
  ].filter(({ path }) => host.isDirectory(path) && host.realPath(path) === path);
  const homes = SYSTEM.test(host.home) ? [] : [host.home];
  const hidden = [...homes, ...host.own, ...DOORS].flatMap((path) => host.realPath(path) ?? []);
  const covered = privates.map(({ path }) => path);
  const masks: string[] = [];
  for (const path of [...new Set(hidden)].filter((each) => host.isDirectory(each)).sort()) {
    if (![...covered, ...masks].some((above) => isUnder(path, above))) masks.push(path);
  }
  const isHidden = (path: string) => [...covered, ...masks].some((above) => isUnder(path, above));
  const blocked = [...new Set(SOCKETS.flatMap((path) => host.realPath(path) ?? []))];
  const target = wishes.resolvConf === undefined ? undefined : host.realPath(RESOLV_CONF);
  return {
    masks,
    blocked: blocked.filter((path) => host.isFile(path) && !isHidden(path)),
    privates,
    visible: outermost([wishes.release, ...(wishes.shared ?? []), ...visibleTools(host, wishes, isHidden)]),
    resolvConf: target === undefined ? undefined : { target, text: wishes.resolvConf ?? "" },
  };
}

function visibleTools(host: HostLayout, wishes: MountWishes, isHidden: (path: string) => boolean): VisibleDirectory[] {
  const entries = wishes.pathEntries.filter(isAbsolute).map((entry) => programRoot(normalize(entry), host));
  const node = { ...wishes.node, writable: false };
  const tools = entries.flatMap((wish) => {
    const source = host.realPath(wish);
    if (source === undefined || !host.isDirectory(source) || isMoreThanTools(source, host)) return [];
    const targets = new Set([wish.replace(/(?<=.)\/+$/, ""), source]);
    return [...targets].filter(isHidden).map((target) => ({ source, target, writable: false }));
  });
  return isHidden(node.target) ? [...tools, node] : tools;
}

/** A directory named bin belongs to a tool chain whose other parts lie beside it; the home directory and ~/.local do not. */
function programRoot(entry: string, host: HostLayout): string {
  const match = /^(.+)\/([^/]+)\/?$/.exec(entry);
  const [, parent, name] = match ?? [];
  if (!parent || !name || !["bin", "shims", "sbin"].includes(name)) return entry;
  const shared = isUnder(host.home, parent) || parent === `${host.home}/.local`;
  const holdsSecrets = () => host.names(parent).some((each) => CREDENTIALS.test(each));
  return shared || parent.lastIndexOf("/") === 0 || holdsSecrets() ? entry : parent;
}

/** A PATH that names the home directory itself or something of the installation's must not uncover it. */
function isMoreThanTools(path: string, host: HostLayout): boolean {
  return isUnder(host.home, path) || host.own.some((own) => isUnder(own, path) || isUnder(path, own));
}

function outermost(wishes: readonly VisibleDirectory[]): VisibleDirectory[] {
  const kept: VisibleDirectory[] = [];
  for (const wish of [...wishes].sort((a, b) => a.target.length - b.target.length)) {
    const above = kept.find((each) => isUnder(wish.target, each.target));
    const sameTree = above && wish.source === above.source + wish.target.slice(above.target.length);
    if (!sameTree || wish.writable !== above.writable) kept.push(wish);
  }
  return kept;
}
