import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { HmsError } from "@hms/kernel";
import { giveTo, syncFolder } from "./database-files.ts";
import type { DatabaseUser } from "./database-user.ts";
import type { PostgresBinaries } from "./postgres-binaries.ts";
import { scramVerifier } from "./scram-verifier.ts";
import { explainServerExit } from "./server-exit.ts";
import { ADMIN_ROLE, EMBEDDED_DATABASE } from "./server-settings.ts";

/** What it takes to run one of PostgreSQL's programs to its end. */
export interface ClusterTools {
  binaries: PostgresBinaries;
  user: DatabaseUser;
  env: Record<string, string>;
}

/** Runs a program as the database's user; its stderr explains a failure. */
async function run(tools: ClusterTools, argv: readonly string[], input = ""): Promise<void> {
  const [file = "", ...args] = [...tools.user.launcher, ...argv];
  const child = spawn(file, args, { env: tools.env, cwd: "/", stdio: ["pipe", "ignore", "pipe"] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  // A program that ends before it has read everything says why on stderr.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [code, log] = await Promise.all([ended, text(child.stderr)]).catch((error: unknown) => {
    throw new HmsError(
      "FAILED_PRECONDITION",
      `${argv[0]} cannot be started (${(error as Error).message}). Install dependencies again, or set DATABASE_URL.`,
      { reason: "POSTGRES_NOT_INSTALLED", cause: error },
    );
  });
  if (code !== 0) throw explainServerExit(log);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

const REMOVAL_TRIES = 50;

/** The initdb of a killed process may still be writing: what it adds while we remove is removed by the next try. */
async function removeDraft(draft: string): Promise<void> {
  for (let tries = 0; existsSync(draft) && tries < REMOVAL_TRIES; tries++) {
    if (tries > 0) await delay(50);
    rmSync(draft, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Drafts are named for the process that makes them: what a killed one left behind goes. */
async function removeAbandonedDrafts(folder: string, prefix: string): Promise<void> {
  for (const name of readdirSync(folder).filter((entry) => entry.startsWith(prefix))) {
    const pid = Number(name.slice(prefix.length).split("-")[0]);
    if (pid !== process.pid && !isAlive(pid)) await removeDraft(join(folder, name));
  }
}

/**
 * Makes an empty database cluster: initdb in a draft folder, synced, then one rename. A crash leaves either no cluster
 * or a whole one; of two processes at once, one wins and both find the same cluster.
 * @throws HmsError RESOURCE_EXHAUSTED if the disk fills up; FAILED_PRECONDITION if initdb cannot run here.
 */
export async function initializeCluster(cluster: string, password: string, tools: ClusterTools): Promise<void> {
  const folder = dirname(cluster);
  const prefix = `${basename(cluster)}.draft-`;
  await removeAbandonedDrafts(folder, prefix);
  const draft = join(folder, `${prefix}${process.pid}-${randomBytes(4).toString("hex")}`);
  const passwordFile = `${draft}-password`;
  try {
    mkdirSync(draft, { mode: 0o700 });
    giveTo(draft, tools.user);
    writeFileSync(passwordFile, `${password}\n`, { mode: 0o600, flag: "wx" });
    giveTo(passwordFile, tools.user);
    await run(tools, [tools.binaries.initdb, `--pgdata=${draft}`, `--pwfile=${passwordFile}`, ...INITDB_OPTIONS]);
    chmodSync(draft, 0o700);
    adopt(draft, cluster);
  } finally {
    rmSync(passwordFile, { force: true });
    rmSync(draft, { recursive: true, force: true });
  }
}

const INITDB_OPTIONS = [
  `--username=${ADMIN_ROLE}`,
  "--auth=scram-sha-256",
  "--encoding=UTF8",
  // Built in, so that sorting never changes with the machine's C library under existing indexes.
  "--locale-provider=builtin",
  "--builtin-locale=C.UTF-8",
  "--locale=C",
  "--data-checksums",
  "--no-instructions",
];

function adopt(draft: string, cluster: string): void {
  try {
    renameSync(draft, cluster);
  } catch (error) {
    // Another process was first: its cluster counts.
    if (existsSync(`${cluster}/PG_VERSION`)) return;
    throw error;
  }
  syncFolder(dirname(cluster));
}

/** Gives the administrator a new password while no server runs: the way back in after the old one was lost. */
export async function resetAdminPassword(cluster: string, password: string, tools: ClusterTools): Promise<void> {
  const statement = `ALTER ROLE ${ADMIN_ROLE} PASSWORD '${scramVerifier(password)}';\n`;
  await run(tools, [tools.binaries.postgres, "--single", "-D", cluster, EMBEDDED_DATABASE], statement);
}
