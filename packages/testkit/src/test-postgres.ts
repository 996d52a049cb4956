import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import type { InstancePaths } from "@hms/config";
import {
  type ConnectionSource,
  connectionSource,
  type EmbeddedPostgresPlan,
  explainServerExit,
  type HostIdentity,
  planEmbeddedPostgres,
} from "@hms/postgres";
import { waitFor } from "./wait-for.ts";

/** An embedded PostgreSQL that ends with the process that started it, however that one ends. */
export interface TestPostgres extends AsyncDisposable {
  source: ConnectionSource;
  plan: EmbeddedPostgresPlan;
  /** The server's process. */
  pid: number;
  /** What it has logged so far. */
  log(): string;
  /** Kills it with SIGKILL and waits until it is gone. */
  kill(): Promise<void>;
  /** Stops it as the agent would and waits until it is gone. */
  stop(): Promise<void>;
}

/** How the server is started. */
export interface TestPostgresOptions {
  identity?: HostIdentity;
  /** More lines for its settings; default: no waiting for the disk. */
  settings?: string;
}

/** Speed for tests: what a power cut would cost does not matter there. */
const FAST = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\n";

/**
 * Starts the program given as arguments, says its pid, ends when it ends, and kills it as soon as standard input closes:
 * that happens whenever the process at its other end is gone, for whatever reason.
 */
const WATCHER = `
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
echo "$server"
{ read -r _ <&3; kill -QUIT "$server"; } 2>/dev/null >&2 &
reader=$!
exec 3<&-
wait "$server"
code=$?
kill "$reader" 2>/dev/null
exit "$code"
`;

/** Starts the embedded PostgreSQL of an installation and waits until it is ready. @throws HmsError if it ends instead. */
export async function startTestPostgres(
  paths: InstancePaths,
  options: TestPostgresOptions = {},
): Promise<TestPostgres> {
  const plan = planEmbeddedPostgres(paths, options.identity);
  await plan.prepare();
  writeFileSync(`${plan.cwd}/postgresql.local.conf`, options.settings ?? FAST, { mode: 0o644 });
  const watcher = spawn("sh", ["-c", WATCHER, "watcher", ...plan.argv], {
    env: plan.env,
    cwd: plan.cwd,
    stdio: ["pipe", "pipe", "pipe"],
    detached: true,
  });
  let log = "";
  watcher.stderr.setEncoding("utf8").on("data", (text: string) => {
    log = `${log}${text}`.slice(-100_000);
  });
  const ended = once(watcher, "close");
  const [first] = await once(createInterface(watcher.stdout), "line");
  const pid = Number(first);
  await ready(plan, watcher, () => log);
  return { source: connectionSource(paths), plan, pid, log: () => log, ...endings({ watcher, ended, pid, plan }) };
}

async function ready(plan: EmbeddedPostgresPlan, watcher: ChildProcess, log: () => string): Promise<void> {
  const hasEnded = () => watcher.exitCode !== null || watcher.signalCode !== null;
  const look = async () => hasEnded() || (await plan.isReady());
  await waitFor(look, { deadlineMs: 30_000, describe: () => `PostgreSQL to be ready; it said:\n${log()}` });
  if (hasEnded()) throw explainServerExit(log());
}

interface Ending {
  watcher: ChildProcess;
  ended: Promise<unknown>;
  pid: number;
  plan: EmbeddedPostgresPlan;
}

function endings({
  watcher,
  ended,
  pid,
  plan,
}: Ending): Pick<TestPostgres, "kill" | "stop" | typeof Symbol.asyncDispose> {
  const signal = async (name: NodeJS.Signals) => {
    if (watcher.exitCode === null) process.kill(pid, name);
    await ended;
  };
  return {
    kill: () => signal("SIGKILL"),
    stop: () => signal(plan.stopSignal),
    [Symbol.asyncDispose]: async () => {
      watcher.stdin?.destroy();
      await ended;
    },
  };
}
