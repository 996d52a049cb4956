import { createHash, type Hash } from "node:crypto";
import type { Dirent } from "node:fs";
import { open, readdir, readFile, readlink, stat } from "node:fs/promises";
import { dirname, isAbsolute, relative, resolve } from "node:path";
import { HmsError } from "@hms/kernel";
import { isUnder } from "../launcher/mount-plan.ts";

/** One entry of a program's directory. */
export interface SourceEntry {
  /** Relative to the directory, with slashes. */
  path: string;
  kind: "file" | "link" | "directory";
  executable: boolean;
  bytes: number;
  /** Where a link points to. */
  target: string;
}

/** A program's directory, in a fixed order. */
export interface SourceTree {
  entries: SourceEntry[];
  fileCount: number;
  totalBytes: number;
  /** Sockets, pipes and devices, which no copy can hold. */
  skipped: string[];
}

/** The most that a release may hold. */
const LARGEST_RELEASE = { files: 200_000, bytes: 2 * 1024 ** 3 };
/** A link may leave the directory only to what every program sees. */
const SYSTEM = ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", "/etc", "/nix", "/dev", "/proc"];
const READ_WHOLE_BYTES = 1024 * 1024;

/**
 * Lists what belongs to a release: everything but .git. Modes are reduced to "executable or not", so that two clones
 * of one source are the same release whatever the umask was.
 * @throws HmsError FAILED_PRECONDITION if it is too large or holds links that lead out of it.
 */
export async function scanSource(root: string): Promise<SourceTree> {
  const tree: SourceTree = { entries: [], fileCount: 0, totalBytes: 0, skipped: [] };
  const escaping: string[] = [];
  for await (const [path, found] of walk(root)) {
    const entry = await sourceEntry(root, path, found);
    if (entry === "escapes") escaping.push(path);
    else if (entry === "special") tree.skipped.push(path);
    else add(tree, entry);
    checkSize(root, tree);
  }
  if (escaping.length > 0) throw escapingLinks(root, escaping);
  tree.entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  return tree;
}

/** The paths of everything in a tree but directories and .git. */
export async function* sourceFiles(root: string): AsyncGenerator<string> {
  for await (const [path, found] of walk(root)) if (!found.isDirectory()) yield path;
}

async function* walk(root: string): AsyncGenerator<[path: string, found: Dirent]> {
  const folders = [""];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const found of await readdir(resolve(root, folder), { withFileTypes: true })) {
      if (found.name === ".git") continue;
      const path = folder === "" ? found.name : `${folder}/${found.name}`;
      if (found.isDirectory()) folders.push(path);
      yield [path, found];
    }
  }
}

function add(tree: SourceTree, entry: SourceEntry): void {
  tree.entries.push(entry);
  tree.totalBytes += entry.bytes;
  if (entry.kind !== "directory") tree.fileCount += 1;
}

async function sourceEntry(root: string, path: string, found: Dirent): Promise<SourceEntry | "escapes" | "special"> {
  if (found.isDirectory()) return { path, kind: "directory", executable: true, bytes: 0, target: "" };
  if (found.isSymbolicLink()) {
    const target = linkTarget(root, path, await readlink(`${root}/${path}`));
    return target === undefined ? "escapes" : { path, kind: "link", executable: false, bytes: 0, target };
  }
  if (!found.isFile()) return "special";
  const { mode, size } = await stat(`${root}/${path}`);
  return { path, kind: "file", executable: (mode & 0o111) !== 0, bytes: size, target: "" };
}

function linkTarget(root: string, path: string, target: string): string | undefined {
  if (isAbsolute(target) && SYSTEM.some((each) => isUnder(target, each)) && !isUnder(target, root)) return target;
  const folder = dirname(`${root}/${path}`);
  const pointsTo = resolve(folder, target);
  if (!isUnder(pointsTo, root)) return undefined;
  // The copy lies elsewhere: a link by full path would lead back to the source.
  return isAbsolute(target) ? relative(folder, pointsTo) || "." : target;
}

function escapingLinks(root: string, paths: readonly string[]): HmsError {
  const shown = paths.slice(0, 10).join(", ") + (paths.length > 10 ? ` and ${paths.length - 10} more` : "");
  return new HmsError(
    "FAILED_PRECONDITION",
    `Links in ${root} lead out of it, where a service cannot follow: ${shown}. Copy what they point to, or remove them.`,
    { reason: "LINK_ESCAPES" },
  );
}

function checkSize(root: string, { entries, totalBytes }: SourceTree): void {
  const { files, bytes } = LARGEST_RELEASE;
  if (entries.length <= files && totalBytes <= bytes) return;
  throw new HmsError(
    "FAILED_PRECONDITION",
    `${root} is larger than a release may be (${files} files, ${bytes / 1024 ** 3} GiB): ` +
      "deploy from a directory that holds the program only, without data, caches and build outputs.",
    { reason: "RELEASE_TOO_LARGE" },
  );
}

/** The digest of a tree and of the command that will be run in it. */
export async function digestSource(root: string, tree: SourceTree, buildCommand: string): Promise<string> {
  const hash = createHash("sha256");
  for (const { path, kind, executable, bytes, target } of tree.entries) {
    // Lengths go before texts, so that no two trees look alike.
    hash.update(
      `${kind} ${executable ? "x" : "-"} ${Buffer.byteLength(path)} ${path} ${bytes} ${target.length} ${target}\n`,
    );
    if (kind === "file") await hashFile(hash, `${root}/${path}`, bytes);
  }
  return `sha256:${hash.update(`build ${buildCommand}`).digest("hex")}`;
}

/** Adds a file's content, of this many bytes, to a hash. */
export async function hashFile(hash: Hash, path: string, bytes: number): Promise<void> {
  if (bytes <= READ_WHOLE_BYTES) {
    hash.update(await readFile(path));
    return;
  }
  const file = await open(path, "r");
  try {
    const buffer = Buffer.allocUnsafe(READ_WHOLE_BYTES);
    for (let read = await file.read(buffer); read.bytesRead > 0; read = await file.read(buffer)) {
      hash.update(buffer.subarray(0, read.bytesRead));
    }
  } finally {
    await file.close();
  }
}
