import { readdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { dirname } from "node:path";
import { type HostLayout, isUnder } from "./mount-plan.ts";

/** Looks at the machine itself. `own` are the installation's directories, hidden from every replica. */
export function readHostLayout(home: string, own: readonly string[]): HostLayout {
  return {
    home: realPath(home) ?? realPath(passwordHome()) ?? "/",
    own: own.flatMap((path) => realPath(path) ?? []),
    isDirectory: (path) => kindOf(path) === "directory",
    isFile: (path) => kindOf(path) === "file",
    names: namesIn,
    realPath,
  };
}

function passwordHome(): string {
  try {
    return userInfo().homedir;
  } catch {
    // A uid without an entry in the password file.
    return homedir();
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    // Missing, a dangling link, or behind a directory that we may not enter.
    return undefined;
  }
}

function namesIn(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function kindOf(path: string): "directory" | "file" | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (!found) return undefined;
  return found.isDirectory() ? "directory" : "file";
}

/** True if every user may enter the directory and all above it. */
export function isOpenToAll(directory: string): boolean {
  for (let path = directory; path !== "/"; path = dirname(path)) {
    if (((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o001) === 0) return false;
  }
  return true;
}

/** True if every user may read the file or list the directory. */
export function isReadableByAll(path: string): boolean {
  return ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o004) !== 0 && isOpenToAll(dirname(path));
}

/** Options of a mount that a user namespace may add to but not drop. */
const LOCKED = new Set(["nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime"]);

/** The options of the mount that holds a path, which a read-only bind mount of it must repeat. */
export function lockedMountFlags(path: string): string[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n");
  let best = { point: "", options: "" };
  for (const line of mounts) {
    const field = line.split(" ");
    const point = (field[4] ?? "").replace(/\\(\d{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
    // A later mount on the same point lies on top of the earlier one.
    if (isUnder(path, point) && point.length >= best.point.length) best = { point, options: field[5] ?? "" };
  }
  return best.options.split(",").filter((option) => LOCKED.has(option));
}
