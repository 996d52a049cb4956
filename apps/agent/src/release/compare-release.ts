import { createHash } from "node:crypto";
import { lstat, readlink } from "node:fs/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { agent } from "@hms/contracts";
import { digestHex } from "../replica/replica-name.ts";
import type { ReleaseWorkshop } from "./prepare-release.ts";
import { sourceDirectory } from "./source-directory.ts";
import { digestSource, hashFile, type SourceEntry, scanSource, sourceFiles } from "./source-tree.ts";

const { FileChangeKind } = agent;
type FileChange = MessageInitShape<typeof agent.FileChangeSchema>;

const SHOWN = 50;

/**
 * Compares a program's directory with a release of it; makes nothing.
 * @throws HmsError INVALID_ARGUMENT, FAILED_PRECONDITION, as preparing a release of the directory would.
 */
export async function compareRelease(
  { machine, store }: ReleaseWorkshop,
  request: agent.CompareReleaseRequest,
): Promise<agent.CompareReleaseResponse> {
  const { digest: before, built } = request;
  if (before !== "") digestHex("digest", before);
  const source = await sourceDirectory(machine.paths, request.sourceDirectory);
  const { entries, ...tree } = await scanSource(source);
  const digest = await digestSource(source, { entries, ...tree }, request.buildCommand);
  const releaseFound = before !== "" && (await store.find(request, before)) !== undefined;
  const differs = releaseFound && digest !== before;
  const files = differs ? await fileChanges(source, { entries, release: store.path(request, before), built }) : [];
  const fileCount = BigInt(files.length);
  return create(agent.CompareReleaseResponseSchema, { digest, releaseFound, files: files.slice(0, SHOWN), fileCount });
}

interface Compared {
  entries: readonly SourceEntry[];
  release: string;
  built: boolean;
}

async function fileChanges(source: string, { entries, release, built }: Compared): Promise<FileChange[]> {
  const changes: FileChange[] = [];
  const known = new Set<string>();
  for (const entry of entries) {
    known.add(entry.path);
    if (entry.kind === "directory") continue;
    const kind = await changeOf(entry, `${source}/${entry.path}`, `${release}/${entry.path}`);
    if (kind !== undefined) changes.push({ path: entry.path, kind });
  }
  if (built) return changes;
  for await (const path of sourceFiles(release)) {
    if (!known.has(path)) changes.push({ path, kind: FileChangeKind.REMOVED });
  }
  return changes.sort((a, b) => ((a.path ?? "") < (b.path ?? "") ? -1 : 1));
}

async function changeOf(entry: SourceEntry, now: string, before: string): Promise<agent.FileChangeKind | undefined> {
  const old = await lstat(before).catch(() => undefined);
  if (old === undefined) return FileChangeKind.ADDED;
  if (entry.kind === "link") {
    const target = old.isSymbolicLink() ? await readlink(before) : undefined;
    return target === entry.target ? undefined : FileChangeKind.CHANGED;
  }
  const isExecutable = (old.mode & 0o111) !== 0;
  const looksAlike = old.isFile() && old.size === entry.bytes && isExecutable === entry.executable;
  if (looksAlike && (await contentOf(before, entry.bytes)) === (await contentOf(now, entry.bytes))) return undefined;
  return FileChangeKind.CHANGED;
}

async function contentOf(path: string, bytes: number): Promise<string> {
  const hash = createHash("sha256");
  await hashFile(hash, path, bytes);
  return hash.digest("hex");
}
