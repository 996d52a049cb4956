import { constants } from "node:fs";
import { chmod, copyFile, mkdir, symlink } from "node:fs/promises";
import type { SourceEntry } from "./source-tree.ts";

const AT_ONCE = 8;

/** Copies the entries of a tree, sharing blocks where the file system can; readable by everybody, writable by the owner. */
export async function copyTree(source: string, target: string, entries: readonly SourceEntry[]): Promise<void> {
  await mkdir(target, { recursive: true, mode: 0o755 });
  await chmod(target, 0o755);
  for (const { kind, path } of entries) {
    if (kind === "directory") await mkdir(`${target}/${path}`, { mode: 0o755 });
  }
  const rest = entries.filter(({ kind }) => kind !== "directory").values();
  const worker = async () => {
    for (const entry of rest) await copyEntry(source, target, entry);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function copyEntry(source: string, target: string, entry: SourceEntry): Promise<void> {
  const to = `${target}/${entry.path}`;
  if (entry.kind === "link") return symlink(entry.target, to);
  await copyFile(`${source}/${entry.path}`, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  await chmod(to, entry.executable ? 0o755 : 0o644);
}
