import {
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { HmsError } from "@hms/kernel";
import { POSTGRES_MAJOR } from "./server-settings.ts";

/** Who owns the files. */
export interface Owner {
  uid: number;
  gid: number;
}

/** Makes entries of a folder survive a power cut. */
export function syncFolder(folder: string): void {
  const descriptor = openSync(folder, "r");
  fsyncSync(descriptor);
  closeSync(descriptor);
}

/** Writes a file (mode 0600) whole or not at all. */
export function replaceFile(file: string, text: string, owner: Owner): void {
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  giveTo(`${file}.new`, owner);
  renameSync(`${file}.new`, file);
}

/** Gives a file or folder to its owner, if it is not theirs. */
export function giveTo(path: string, owner: Owner): void {
  const { uid, gid } = statSync(path);
  if (uid !== owner.uid || gid !== owner.gid) chownSync(path, owner.uid, owner.gid);
}

/** Gives a whole tree to its owner, if its root is not theirs: the way to keep root away has changed. */
export function giveTreeTo(folder: string, owner: Owner): void {
  if (statSync(folder).uid === owner.uid) return;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    lchownSync(join(entry.parentPath, entry.name), owner.uid, owner.gid);
  }
  // The root last: after a crash in between, the next start begins again.
  chownSync(folder, owner.uid, owner.gid);
}

interface Room {
  free: number;
  wanted: number;
}

/**
 * Makes a folder (mode 0700) if it is not there.
 * @throws HmsError FAILED_PRECONDITION if that is not possible, RESOURCE_EXHAUSTED if the disk is full.
 */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    if (isFull(error)) throw diskFull(folder, { free: 0, wanted: 2 ** 20 }, error);
    throw notWritable(folder, error);
  }
}

const isFull = (error: unknown) => FULL.has((error as NodeJS.ErrnoException).code ?? "");

function notWritable(folder: string, cause: unknown): HmsError {
  return new HmsError(
    "FAILED_PRECONDITION",
    `The folder ${folder} cannot be written to (${(cause as Error).message}). Give it to the user who starts the platform, or choose another one with --data.`,
    { reason: "NOT_WRITABLE", cause },
  );
}

const FULL = new Set(["ENOSPC", "EDQUOT"]);

/**
 * Proves that the disk takes a write before PostgreSQL finds out halfway.
 * @throws HmsError RESOURCE_EXHAUSTED if it is full, FAILED_PRECONDITION if it cannot be written to.
 */
export function requireWritable(folder: string, atLeastBytes: number): void {
  const { bavail, bsize } = statfsSync(folder);
  const room = { free: bavail * bsize, wanted: atLeastBytes };
  if (room.free < atLeastBytes) throw diskFull(folder, room);
  const probe = join(folder, `.write-probe-${process.pid}`);
  try {
    const descriptor = openSync(probe, "w", 0o600);
    try {
      writeSync(descriptor, Buffer.alloc(64 * 1024));
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    throw isFull(error) ? diskFull(folder, room, error) : notWritable(folder, error);
  } finally {
    rmSync(probe, { force: true });
  }
}

function diskFull(folder: string, { free, wanted }: Room, cause?: unknown): HmsError {
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return new HmsError(
    "RESOURCE_EXHAUSTED",
    `The disk of ${folder} is full: ${mebibytes(free)} are free and PostgreSQL needs ${mebibytes(wanted)} to start. Free space and start again; nothing is lost.`,
    { reason: "DISK_FULL", metadata: { folder }, cause },
  );
}

/** @throws HmsError FAILED_PRECONDITION if another major version wrote the data directory. */
export function requireMajorVersion(cluster: string): void {
  const found = readFileSync(`${cluster}/PG_VERSION`, "utf8").trim();
  if (found === POSTGRES_MAJOR) return;
  throw new HmsError(
    "FAILED_PRECONDITION",
    `The data in ${cluster} was written by PostgreSQL ${found}; this release carries PostgreSQL ${POSTGRES_MAJOR}, which cannot read it. ` +
      `Start the release that wrote it, or move the data with pg_dump ${POSTGRES_MAJOR} and pg_restore into a new data directory.`,
    { reason: "POSTGRES_VERSION", metadata: { found, wanted: POSTGRES_MAJOR } },
  );
}
