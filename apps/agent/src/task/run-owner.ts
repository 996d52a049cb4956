import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { Sandbox } from "../launcher/launch-script.ts";

const run = promisify(execFile);

/** Gives directories with all they hold to the user of a sandbox; nothing to do if it is ours. */
export async function giveTo(sandbox: Sandbox, directories: readonly string[]): Promise<void> {
  if (sandbox.kind !== "own-uid" || directories.length === 0) return;
  await run("chown", ["-R", "-h", "-P", `${sandbox.uid}:${sandbox.gid}`, "--", ...directories]);
}
