import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { waitFor } from "@hms/testkit";

/** What of an installation is the same wherever it is started again: its database, and the keys to it. */
const KEPT = ["postgres", "database-roles.json"];
const FIRST = "first";
const PATIENCE_MS = 120_000;

/** An installation that the tests of a run share: it was started once, and stopped before anybody made it his own. */
class StartedBefore {
  readonly #folder: string;
  readonly #ready: string;

  /** In the folder of a run of tests, which ends with it. */
  constructor(run: string) {
    this.#folder = join(run, "started-before");
    this.#ready = join(this.#folder, "ready");
  }

  /** Makes it, unless another test is at it: then waits for that one. */
  async get(hmsSys: string): Promise<string> {
    if (this.#claim()) {
      this.#make(hmsSys);
      renameSync(join(this.#folder, "making"), this.#ready);
    }
    await waitFor(() => existsSync(this.#ready), {
      deadlineMs: PATIENCE_MS,
      describe: "the installation that others are copies of",
    });
    return this.#ready;
  }

  #claim(): boolean {
    try {
      mkdirSync(this.#folder);
      return true;
    } catch {
      return false;
    }
  }

  #make(hmsSys: string): void {
    const home = join(this.#folder, "making");
    const places = { XDG_CONFIG_HOME: join(home, "c"), HMS_DATA: join(home, "d"), HMS_INSTANCE: FIRST };
    const env = { ...process.env, ...places };
    try {
      run([hmsSys, "up", "--detach"], env);
    } finally {
      run([hmsSys, "down"], env);
    }
  }
}

function run([program = "", ...args]: string[], env: NodeJS.ProcessEnv = process.env): void {
  const { status, stderr } = spawnSync(program, args, { env, encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] });
  if (status !== 0) throw new Error(`${program} ${args.join(" ")} exited ${status}: ${stderr}`);
}

/**
 * Puts into an empty home what the first start of an installation leaves behind, so that starting it there takes a third of
 * the processor time. Those that are about first starts begin with nothing.
 */
export async function copyStartedBefore(home: string, instance: string, hmsSys: string): Promise<void> {
  const { HMS_TEST_RUN: folder } = process.env;
  // Benches and soaks share nothing.
  if (folder === undefined) return;
  const from = await new StartedBefore(folder).get(hmsSys);
  mkdirSync(join(home, "d"), { mode: 0o700 });
  mkdirSync(join(home, "c"), { mode: 0o700 });
  for (const each of KEPT) run(["cp", "-a", join(from, "d", each), join(home, "d")]);
  run(["cp", "-a", `${from}/c/.`, join(home, "c")]);
  renameSync(join(home, "c/hms-sys", FIRST), join(home, "c/hms-sys", instance));
  rmSync(join(home, "c/hms-sys", instance, "set-up.link"));
}
