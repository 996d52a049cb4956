import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { HmsError } from "@hms/kernel";

/** How the database's processes are kept from running as root. See docs/adr/0002. */
export type DatabaseUserMode = "direct" | "user-namespace" | "dedicated-user";

/** Who starts the database: default is this process's own user. */
export interface HostIdentity {
  uid: number;
  gid: number;
  /** Take this way and no other; default: the first that works here. */
  mode?: DatabaseUserMode;
}

/** The user the database runs as. */
export interface DatabaseUser {
  mode: DatabaseUserMode;
  /** The owner of the database's files, seen from the host. */
  uid: number;
  gid: number;
  /** What precedes a program's argv so that it runs as this user. */
  launcher: readonly string[];
  /** One sentence for `doctor`. */
  why: string;
}

interface Account {
  name: string;
  uid: number;
  gid: number;
}

/** The user of this process; 0 where the platform has no numbers for users. */
export function ownIdentity(): HostIdentity {
  return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
}

function accounts(): Account[] {
  if (!existsSync("/etc/passwd")) return [];
  return readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .map((line) => line.split(":"))
    .filter((fields) => fields.length >= 4)
    .map(([name, , uid, gid]) => ({ name: name ?? "", uid: Number(uid), gid: Number(gid) }));
}

const PREFERRED = ["hms-postgres", "postgres", "nobody"];

/** initdb looks its user up by number, so the number must have a name. */
function mappedAccount(known: Account[]): Account | undefined {
  const ordinary = known.filter(({ uid }) => uid !== 0);
  for (const name of PREFERRED) {
    const found = ordinary.find((account) => account.name === name);
    if (found) return found;
  }
  return ordinary[0];
}

function succeeds(argv: readonly string[]): boolean {
  const [file = "", ...args] = argv;
  return spawnSync(file, [...args, "true"], { stdio: "ignore", timeout: 5000 }).status === 0;
}

function namespaceUser(identity: HostIdentity, known: Account[]): DatabaseUser | string {
  const account = mappedAccount(known);
  if (!account) return "no account but root is in /etc/passwd";
  const launcher = ["unshare", "--user", `--map-user=${account.uid}`, `--map-group=${account.gid}`, "--"];
  if (!succeeds(launcher))
    return "user namespaces are refused here, or `unshare` (util-linux 2.36 or newer) is missing";
  return {
    mode: "user-namespace",
    uid: identity.uid,
    gid: identity.gid,
    launcher,
    why: `PostgreSQL runs in a user namespace as ${account.name}, without any capability.`,
  };
}

/** The first folder on the way down that the account may not pass, or undefined. Folders in `ours` are opened later. */
function barrier(path: string, account: Account, ours: readonly string[]): string | undefined {
  const above = path === "/" ? undefined : barrier(dirname(path), account, ours);
  if (above || ours.includes(path) || !existsSync(path)) return above;
  const { mode, uid, gid } = statSync(path);
  const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
  return (mode & bit) === 0 ? path : undefined;
}

function dedicatedUser(known: Account[], reach: Reach): DatabaseUser | string {
  const account = PREFERRED.map((name) => known.find((entry) => entry.name === name)).find(Boolean);
  if (!account) return `none of the users ${PREFERRED.join(", ")} exists (useradd --system hms-postgres makes one)`;
  for (const path of reach.paths) {
    const closed = barrier(path, account, reach.ours);
    if (closed) return `the user ${account.name} may not pass ${closed}, which is on the way to ${path}`;
  }
  const ids = [`--reuid=${account.uid}`, `--regid=${account.gid}`, "--clear-groups", "--no-new-privs"];
  const launcher = ["setpriv", ...ids, "--"];
  if (!succeeds(launcher)) return "`setpriv` (util-linux) is missing or refused";
  const why = `PostgreSQL runs as the user ${account.name}.`;
  return { mode: "dedicated-user", uid: account.uid, gid: account.gid, launcher, why };
}

/** What the database's user must be able to reach. */
export interface Reach {
  /** Folders it works in. */
  paths: readonly string[];
  /** Folders of the installation, which are opened to it if need be. */
  ours: readonly string[];
}

/**
 * Chooses the user the database runs as; PostgreSQL itself refuses to be root.
 * @throws HmsError FAILED_PRECONDITION if root has no way to become someone else here.
 */
export function chooseDatabaseUser(identity: HostIdentity, reach: Reach): DatabaseUser {
  const known = accounts();
  const isNamed = process.platform !== "linux" || known.some(({ uid }) => uid === identity.uid);
  if (identity.mode === "direct" || (identity.mode === undefined && identity.uid !== 0 && isNamed)) {
    const why = "PostgreSQL runs as the user who started the platform.";
    return { mode: "direct", uid: identity.uid, gid: identity.gid, launcher: [], why };
  }
  const ways = {
    "user-namespace": () => namespaceUser(identity, known),
    "dedicated-user": () => (identity.uid === 0 ? dedicatedUser(known, reach) : "only root can become another user"),
  };
  const obstacles: string[] = [];
  for (const [mode, way] of Object.entries(ways)) {
    if (identity.mode !== undefined && identity.mode !== mode) continue;
    const found = way();
    if (typeof found !== "string") return found;
    obstacles.push(found);
  }
  throw new HmsError(
    "FAILED_PRECONDITION",
    `PostgreSQL does not run as root or as a user without a name, and there is no way around it here: ${obstacles.join("; ")}. ` +
      "Start the platform as an ordinary user, choose a data directory outside private folders with --data, or set DATABASE_URL.",
    { reason: "NO_DATABASE_USER" },
  );
}
