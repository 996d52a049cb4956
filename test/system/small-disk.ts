import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Only root may mount a disk. */
export const mayMount = process.getuid?.() === 0 && process.platform === "linux";

/** A disk of 400 MB of its own, to be filled to the last byte. */
export class SmallDisk implements Disposable {
  readonly #root = mkdtempSync(join(tmpdir(), "hms-disk-"));
  readonly #filler = join(this.#root, "filler");
  /** A folder on it. */
  readonly home = join(this.#root, "h");

  constructor() {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=400m", "small", this.#root]);
    mkdirSync(this.home);
  }

  /** Takes the last byte. */
  fill(): void {
    for (const size of [8 * 1024 * 1024, 65_536, 4096, 1]) {
      try {
        for (;;) appendFileSync(this.#filler, Buffer.alloc(size));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      }
    }
  }

  /** Gives everything back. */
  free(): void {
    rmSync(this.#filler, { force: true });
  }

  [Symbol.dispose](): void {
    execFileSync("umount", ["-l", this.#root]);
    rmSync(this.#root, { recursive: true });
  }
}
