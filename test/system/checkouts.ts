import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
/** What `npm ci` has made in a checkout. */
const installed = ["node_modules", "examples/receipt/node_modules"];

/**
 * Makes a checkout of its own in `folder` from the files of this one, as they are; with `ready` its dependencies are
 * installed, too: hard links to this one's where the file system allows.
 */
export function makeCheckout(folder: string, { ready }: { ready: boolean }): string {
  mkdirSync(folder, { recursive: true });
  const list = "git ls-files -z --cached --others --exclude-standard --deduplicate";
  sh(`${list} | tar --create --null --files-from - --ignore-failed-read | tar --extract --directory "$0"`, folder);
  for (const path of ready ? installed : []) {
    if (!existsSync(join(root, path))) throw new Error(`${path} is missing: run script/bootstrap first.`);
    sh('cp --archive --link "$1" "$0" 2>/dev/null || cp --archive "$1" "$0"', join(folder, path), path);
  }
  return folder;
}

function sh(script: string, ...args: string[]): void {
  execFileSync("sh", ["-ec", script, ...args], { cwd: root, stdio: ["ignore", "ignore", "pipe"] });
}
