import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { promisify } from "node:util";
import { HmsError } from "@hms/kernel";
import { storageError, syncDirectory, writeDurably } from "../replica/durable-file.ts";
import { checkName, digestHex } from "../replica/replica-name.ts";

/** What is known about a sealed release. */
export interface ReleaseFacts {
  digest: string;
  fileCount: number;
  totalBytes: number;
}

/** Whose releases are meant. */
export interface ReleaseOwner {
  environment: string;
  service: string;
}

const run = promisify(execFile);
const SEAL = ".json";
const INCOMING = ".incoming-";

/**
 * Keeps releases under ROOT/environment/service/digest. A release exists when its seal, a small file beside it, does:
 * what a crash left half made has none and is removed at the next start.
 */
export class ReleaseStore {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** Removes what is not sealed. Call it before anything is prepared. */
  async clean(): Promise<void> {
    for (const environment of await names(this.#root)) {
      for (const service of await names(`${this.#root}/${environment}`)) {
        const folder = `${this.#root}/${environment}/${service}`;
        const all = await names(folder);
        const sealed = new Set(all.filter((name) => name.endsWith(SEAL)));
        for (const name of all) {
          if (name.endsWith(SEAL) || sealed.has(name + SEAL)) continue;
          await rm(`${folder}/${name}`, { recursive: true, force: true });
        }
      }
    }
  }

  /** The directory of a sealed release. @throws HmsError FAILED_PRECONDITION if there is none. */
  async directory(owner: ReleaseOwner, digest: string): Promise<string> {
    if (await this.find(owner, digest)) return this.path(owner, digest);
    const { environment, service } = owner;
    throw new HmsError(
      "FAILED_PRECONDITION",
      `The release ${digest} of ${service} in ${environment} is not on this machine: prepare it again.`,
      { reason: "RELEASE_MISSING" },
    );
  }

  /** A sealed release; undefined if there is none. */
  async find(owner: ReleaseOwner, digest: string): Promise<ReleaseFacts | undefined> {
    const path = this.path(owner, digest);
    try {
      const facts = JSON.parse(await readFile(path + SEAL, "utf8")) as ReleaseFacts;
      return (await stat(path)).isDirectory() ? facts : undefined;
    } catch {
      return undefined;
    }
  }

  /** Where a release lies, or will lie. */
  path(owner: ReleaseOwner, digest: string): string {
    return `${this.#folder(owner)}/${digestHex("release_digest", digest)}`;
  }

  /** Makes room for a copy whose digest is not known yet. */
  async incoming(owner: ReleaseOwner): Promise<string> {
    const path = `${this.#folder(owner)}/${INCOMING}${randomUUID()}`;
    await mkdir(path, { recursive: true, mode: 0o755 }).catch((error: unknown) => {
      throw storageError(path, error);
    });
    return path;
  }

  /** Moves a copy to its place, where its build runs; a half-made one from before goes. */
  async place(owner: ReleaseOwner, digest: string, incoming: string): Promise<string> {
    const path = this.path(owner, digest);
    await rm(path, { recursive: true, force: true });
    await rename(incoming, path);
    return path;
  }

  /** Makes a release immutable, safe from power loss, and visible. */
  async seal(owner: ReleaseOwner, facts: ReleaseFacts, built: boolean): Promise<void> {
    const path = this.path(owner, facts.digest);
    if (built) {
      if (process.getuid?.() === 0) await run("chown", ["-R", "-h", "-P", "0:0", "--", path]);
      await run("chmod", ["-R", "a-s,u=rwX,go=rX", "--", path]);
    }
    // One flush of the file system instead of one per file; where `sync` cannot, the machine's own flush has to do.
    await run("sync", ["-f", path]).catch(() => {});
    await writeDurably(path + SEAL, `${JSON.stringify(facts)}\n`);
  }

  /** Removes a release, sealed or not. */
  async remove(owner: ReleaseOwner, digest: string): Promise<void> {
    const path = this.path(owner, digest);
    await rm(path + SEAL, { force: true });
    await syncDirectory(this.#folder(owner));
    await rm(path, { recursive: true, force: true });
  }

  /** The digests of a service's sealed releases. */
  async list(owner: ReleaseOwner): Promise<string[]> {
    const all = await names(this.#folder(owner));
    return all.flatMap((name) => (/^[0-9a-f]{64}\.json$/.test(name) ? `sha256:${name.slice(0, 64)}` : []));
  }

  #folder({ environment, service }: ReleaseOwner): string {
    return `${this.#root}/${checkName("environment", environment)}/${checkName("service", service)}`;
  }
}

async function names(directory: string): Promise<string[]> {
  return readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return [];
    throw error;
  });
}
