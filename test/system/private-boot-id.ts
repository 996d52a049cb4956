import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hmsSys } from "./platform.ts";

/**
 * A program that runs `hms-sys`, and whatever that starts, where the kernel names another boot than the real one; as
 * root on Linux, for a bind mount in a mount namespace of its own.
 */
export class PrivateBootId implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), "hms-boot-"));
  readonly #bootId = join(this.#folder, "boot_id");
  /** What is run instead of `hms-sys`. */
  readonly program = join(this.#folder, "hms-sys");

  constructor() {
    this.reboot();
    const mount = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"';
    const line = `exec unshare --mount sh -c '${mount}' '${this.#bootId}' '${hmsSys}' "$@"`;
    writeFileSync(this.program, `#!/bin/sh\n${line}\n`, { mode: 0o755 });
  }

  /** From now on the kernel names a new boot. */
  reboot(): void {
    writeFileSync(this.#bootId, `${randomUUID()}\n`);
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true });
  }
}
