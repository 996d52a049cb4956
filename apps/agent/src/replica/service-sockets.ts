import { lstat, readdir, rmdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { ensureFfiFolders, type InstancePaths } from "@hms/config";

const SWEEP_EVERY_MS = 60_000;
/** Younger files may just be about to be listened on. */
const YOUNGEST_MS = 60_000;

/** Keeps the folders by which replicas call the platform and each other. */
export class ServiceSockets {
  readonly #paths: InstancePaths;
  readonly #warn: (message: string) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(paths: InstancePaths, warn: (message: string) => void) {
    this.#paths = paths;
    this.#warn = warn;
  }

  /** Makes the folders and tidies them each minute. Where they cannot be made, replicas start without them. */
  open(): void {
    try {
      ensureFfiFolders(this.#paths);
    } catch (error) {
      this.#warn(`Replicas can neither call the platform nor be called on sockets: ${(error as Error).message}`);
    }
    const sweep = () => void sweepServiceSockets(this.#paths.ffiServices, Date.now());
    this.#timer = setInterval(sweep, SWEEP_EVERY_MS).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/**
 * Removes what nobody answers at any more from the folder for services' sockets: dead sockets, other files, empty
 * directories. It never looks into a directory: a replica could make it lead elsewhere.
 */
export async function sweepServiceSockets(folder: string, nowMs: number): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const path = `${folder}/${name}`;
    const found = await lstat(path).catch(() => undefined);
    if (found === undefined || nowMs - found.mtimeMs < YOUNGEST_MS) continue;
    if (found.isSocket() && (await answers(path))) continue;
    await (found.isDirectory() ? rmdir(path) : unlink(path)).catch(() => {});
  }
}

/** False only if certainly nobody listens there. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "ECONNREFUSED"));
  });
}
