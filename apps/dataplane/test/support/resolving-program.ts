import { execFile } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs programs unmodified in a mount namespace whose resolv.conf names one server, as replicas run. Needs root. */
export class ResolvingPrograms implements Disposable {
  readonly #folder = mkdtempSync("/tmp/hms-resolv-");

  /** Answers with what the command wrote; rejects with its stderr if it fails. `$N` in the script are its arguments. */
  async run(nameServer: string, script: string, args: string[] = []): Promise<string> {
    const file = `${this.#folder}/${nameServer}`;
    writeFileSync(file, `nameserver ${nameServer}\noptions ndots:1 timeout:2\n`);
    chmodSync(file, 0o644);
    const inside = `mount --bind ${file} /etc/resolv.conf && ${script}`;
    const { stdout } = await run("unshare", ["-m", "sh", "-c", inside, "sh", ...args], { timeout: 30_000 });
    return stdout.trim();
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
