import { chmodSync, existsSync, renameSync } from "node:fs";
import { hostEnvironment, type InstancePaths } from "@hms/config";
import { Client, type ClientConfig } from "pg";
import { connectionSource, embeddedPasswordFile, embeddedSocketFolder } from "./connection-source.ts";
import { giveTo, giveTreeTo, makeFolder, replaceFile, requireMajorVersion, requireWritable } from "./database-files.ts";
import { chooseDatabaseUser, type DatabaseUser, type HostIdentity, ownIdentity } from "./database-user.ts";
import { type ClusterTools, initializeCluster, resetAdminPassword } from "./initialize-cluster.ts";
import { findPostgresBinaries } from "./postgres-binaries.ts";
import { clearStaleServer, type RunningPostmaster, runningPostmaster } from "./postmaster.ts";
import { ensureSecretFile, readSecretFile } from "./secret-file.ts";
import { accessRules, serverSettings } from "./server-settings.ts";

/** How to run the embedded PostgreSQL: the caller launches `argv` after `prepare()`. */
export interface EmbeddedPostgresPlan {
  /**
   * Makes everything the server needs: the cluster (first time only), its settings (each time), no stale locks.
   * Safe to repeat, and after a crash at any point.
   * @throws HmsError RESOURCE_EXHAUSTED (disk full), FAILED_PRECONDITION (already running, other major version, …).
   */
  prepare(): Promise<void>;
  /** The program and its arguments; it stays in the foreground and logs to stderr. Its pid is the server's. */
  argv: readonly string[];
  /** Its whole environment. */
  env: Readonly<Record<string, string>>;
  cwd: string;
  /** Folders that are the database's alone: to be hidden from everything else on the machine. */
  ownedDirectories: readonly string[];
  /** Rolls back what runs and ends within seconds ("fast shutdown"). */
  stopSignal: "SIGINT";
  /** The user it runs as, and why. */
  user: DatabaseUser;
  /** True if the server accepts the administrator's connections; false after at most 2 s. */
  isReady(): Promise<boolean>;
  /** The server that runs on the data directory now, for adoption; undefined if none does. */
  running(): RunningPostmaster | undefined;
}

/** initdb writes 39 MiB; the rest is room for the first tables. */
const FIRST_START_BYTES = 64 * 2 ** 20;
const LATER_START_BYTES = 2 ** 20;

/**
 * Plans the embedded PostgreSQL of an installation: unix socket only, generated password, data checksums.
 * @throws HmsError FAILED_PRECONDITION if there is no PostgreSQL for this machine, or no user it could run as.
 */
export function planEmbeddedPostgres(
  paths: InstancePaths,
  identity: HostIdentity = ownIdentity(),
): EmbeddedPostgresPlan {
  const cluster = `${paths.data}/postgres`;
  const socketFolder = embeddedSocketFolder(paths);
  const linkFolder = `${paths.data}/postgres-lib`;
  const binaries = findPostgresBinaries(linkFolder);
  const ours = [paths.data, paths.run];
  const user = chooseDatabaseUser(identity, { paths: [paths.data, paths.run, binaries.home], ours });
  const env = { PATH: hostEnvironment().path, LC_ALL: "C", TZ: "UTC", ...binaries.env };
  const source = connectionSource(paths);
  return {
    prepare: () => prepare({ paths, cluster, socketFolder }, { binaries, user, env }),
    argv: [...user.launcher, binaries.postgres, "-D", cluster],
    env,
    cwd: cluster,
    ownedDirectories: [cluster, socketFolder],
    stopSignal: "SIGINT",
    user,
    isReady: async () => answers(await source.admin().catch(() => undefined)),
    running: () => runningPostmaster(cluster),
  };
}

interface Places {
  paths: InstancePaths;
  cluster: string;
  socketFolder: string;
}

async function prepare({ paths, cluster, socketFolder }: Places, tools: ClusterTools): Promise<void> {
  const { user } = tools;
  for (const folder of [paths.data, paths.run, socketFolder]) makeFolder(folder);
  giveTo(socketFolder, user);
  if (user.mode === "dedicated-user") {
    for (const folder of [paths.data, paths.run]) openForPassing(folder, user);
  }
  const isNew = !existsSync(`${cluster}/PG_VERSION`);
  requireWritable(paths.data, isNew ? FIRST_START_BYTES : LATER_START_BYTES);
  const passwordFile = embeddedPasswordFile(paths);
  const isLost = !isNew && !readSecretFile(passwordFile);
  if (isNew) await initializeCluster(cluster, ensureSecretFile(passwordFile), tools);
  requireMajorVersion(cluster);
  await clearStaleServer(cluster, socketFolder);
  giveTreeTo(cluster, user);
  replaceFile(`${cluster}/postgresql.conf`, serverSettings(socketFolder), user);
  replaceFile(`${cluster}/pg_hba.conf`, accessRules(), user);
  if (isLost) {
    // Kept under its final name only once the server knows it: a crash in between starts over.
    const next = `${passwordFile}.next`;
    await resetAdminPassword(cluster, ensureSecretFile(next), tools);
    renameSync(next, passwordFile);
  }
}

/** Lets the database's group pass the folder, and see nothing in it. */
function openForPassing(folder: string, user: DatabaseUser): void {
  giveTo(folder, { uid: ownIdentity().uid, gid: user.gid });
  chmodSync(folder, 0o710);
}

async function answers(config: ClientConfig | undefined): Promise<boolean> {
  if (!config) return false;
  const client = new Client({ ...config, connectionTimeoutMillis: 2000, query_timeout: 2000 });
  // A server that dies in between is simply not ready.
  client.on("error", () => {});
  try {
    await client.connect();
    await client.query("SELECT 1");
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => {});
  }
}
