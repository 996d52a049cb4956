import { execFileSync, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTestPostgres, tempInstance, waitFor } from "@hms/testkit";

const DEBIAN = "/usr/lib/postgresql";
const PASSWORD = "known to this machine only";

/** A PostgreSQL that an installation did not start. */
export interface ExternalPostgres extends AsyncDisposable {
  /** For DATABASE_URL: a user that may create roles, and a database of its own. */
  url: string;
  /** Runs SQL there as its administrator and answers with what it prints; undefined without psql. */
  psql(sql: string): string | undefined;
}

/**
 * Starts the machine's own PostgreSQL 15 or newer, as Debian installs it, else the embedded one, on a loopback address of
 * its own.
 */
export async function startExternalPostgres(): Promise<ExternalPostgres> {
  const address = `127.${randomInt(200, 250)}.${randomInt(1, 250)}.${randomInt(1, 250)}`;
  const versions = existsSync(DEBIAN) ? readdirSync(DEBIAN).filter((name) => Number(name) >= 15) : [];
  const [oldest] = versions.sort((a, b) => Number(a) - Number(b));
  const mayDropRights = process.getuid?.() === 0;
  return oldest && mayDropRights ? startDebian(`${DEBIAN}/${oldest}/bin`, address) : startEmbedded(address);
}

async function startDebian(programs: string, address: string): Promise<ExternalPostgres> {
  const folder = mkdtempSync(join(tmpdir(), "hms-pg-"));
  const data = join(folder, "data");
  mkdirSync(data);
  execFileSync("chown", ["-R", "postgres", folder]);
  // Ends with this process, however that one ends.
  const as = ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT"];
  const options = { cwd: folder, env: { PATH: process.env.PATH, LC_ALL: "C" } };
  const initdb = [`${programs}/initdb`, "-D", data, "--auth-host=scram-sha-256", "--auth-local=peer", "--no-sync"];
  execFileSync("setpriv", [...as, ...initdb], { ...options, stdio: "ignore" });
  const settings = [`listen_addresses=${address}`, `unix_socket_directories=${folder}`, "fsync=off"];
  const server = [`${programs}/postgres`, "-D", data, ...settings.flatMap((setting) => ["-c", setting])];
  const child = spawn("setpriv", [...as, ...server], { ...options, stdio: "ignore" });
  const psql = (sql: string) =>
    execFileSync("setpriv", [...as, `${programs}/psql`, "-XAt", "-h", folder, "postgres"], { ...options, input: sql })
      .toString()
      .trim();
  const answers = () => {
    try {
      return psql("select 1") === "1";
    } catch {
      return false;
    }
  };
  await waitFor(answers, { deadlineMs: 30_000, describe: "the database answers" });
  psql(`create role ops login createrole password '${PASSWORD}'; create database ops owner ops;`);
  return {
    url: `postgres://ops:${encodeURIComponent(PASSWORD)}@${address}/ops`,
    psql: (sql) => psql(`\\c ops\n${sql}`).split("\n").slice(1).join("\n"),
    async [Symbol.asyncDispose]() {
      child.kill("SIGINT");
      await once(child, "exit");
      rmSync(folder, { recursive: true });
    },
  };
}

async function startEmbedded(address: string): Promise<ExternalPostgres> {
  await using stack = new AsyncDisposableStack();
  const { paths } = stack.use(tempInstance());
  stack.use(await startTestPostgres(paths, { settings: `fsync = off\nlisten_addresses = '${address}'\n` }));
  const password = readFileSync(`${paths.config}/postgres.password`, "utf8").trim();
  const own = stack.move();
  return {
    url: `postgres://hms:${password}@${address}/postgres`,
    psql: () => undefined,
    [Symbol.asyncDispose]: () => own.disposeAsync(),
  };
}
