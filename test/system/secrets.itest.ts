import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { resolveInstance } from "@hms/config";
import { connectionSource, openAdmin } from "@hms/postgres";
import { openSealingKey, sealedBy } from "@hms/secrets";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hmsSys, type Platform, startPlatform } from "./platform.ts";

/** What both values begin with; nothing else on this machine does. */
const MARK = `plain${randomBytes(6).toString("hex")}`;
const [first, second] = [`${MARK}-one'$"\\`, `${MARK}-two`];
const [firstHash, secondHash] = [first, second].map(hashOf);

let platform: Platform;
const inConfig = (name: string) => join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance, name);

/** A program that answers with the hash of its secret, and says the secret itself in its log. */
const TELLING = `const { createHash } = require("node:crypto");
const { URL: url = "" } = process.env;
console.log("connecting to", url);
require("node:http").createServer((request, response) => {
  const secret = url.slice("db://app:".length, -"@db".length);
  response.end(createHash("sha256").update(secret).digest("hex"));
}).listen(Number(process.env.PORT), "127.0.0.1");
`;

/** A neighbour that looks into every process and file it can see for something that begins alike. */
const PRYING = `const { readdirSync, readFileSync } = require("node:fs");
const { execFileSync } = require("node:child_process");
const pattern = "plain[0-9a-f]{12}";
const tried = (look) => { try { return look(); } catch { return ""; } };
const look = () => {
  const pids = readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name));
  const seen = pids.flatMap((pid) =>
    ["environ", "cmdline"].map((what) => tried(() => readFileSync("/proc/" + pid + "/" + what, "latin1"))));
  const files = process.env.LOOK_IN.split(":").map((folder) =>
    tried(() => execFileSync("grep", ["-rlaE", pattern, folder], { encoding: "latin1", stdio: ["ignore", "pipe", "ignore"] })));
  const found = [...seen.filter((each) => new RegExp(pattern).test(each)), ...files.filter((each) => each !== "")];
  return { looked: seen.filter((each) => each !== "").length, found };
};
require("node:http").createServer((request, response) => response.end(JSON.stringify(look()))).listen(Number(process.env.PORT), "127.0.0.1");
`;

function hashOf(value: string): string {
  return createHash("sha256").update(value).digest("hex");
}

function manifest(name: string, more: string): string {
  return `name: ${name}
run: {command: exec node server.js}
routes: [{path: /${name}}]
scaling: {min: 1}
health: {interval: 100ms, min_healthy_time: 100ms}
rollout: {drain_timeout: 1s}
${more}`;
}

/** Gives a secret a value by standard input. */
async function set(value: string): Promise<string> {
  const child = spawn(hmsSys, ["secrets", "set", "db-password"], {
    env: platform.env,
    stdio: ["pipe", "pipe", "ignore"],
  });
  child.stdin.end(`${value}\n`);
  return text(child.stdout);
}

const answer = async (path: string) => (await fetch(platform.url(path))).text();
const deploy = async (file: string) => expect(await platform.cli("deploy", file)).toMatchObject({ code: 0 });

/** Pids whose arguments or environment hold a value, with what they are. */
function holders(): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .flatMap((pid) =>
      (["cmdline", "environ"] as const).flatMap((what) => {
        try {
          const found = readFileSync(`/proc/${pid}/${what}`, "latin1");
          if (!found.includes(MARK)) return [];
          return [what === "environ" ? (/HMS_SERVICE=([^\0]*)/.exec(found)?.[1] ?? `environ of ${pid}`) : found];
        } catch {
          return [];
        }
      }),
    );
}

/** Files of a folder in which one of some texts is; what goes away meanwhile is none. */
function filesWith(texts: readonly string[], folder: string): string[] {
  const found = spawnSync("grep", ["-rlasF", ...texts.flatMap((each) => ["-e", each]), folder], { encoding: "utf8" });
  return found.stdout.split("\n").filter((line) => line !== "");
}

/** The pid of the only replica. */
async function replicaPid(): Promise<number> {
  const { replicas } = await platform.json<{ replicas: { replica: { pid: string } }[] }>("status", "vault-svc");
  return Number(replicas[0]?.replica.pid ?? 0);
}

const recordFile = () => {
  const folder = join(platform.data, "agent/replicas");
  const name = readdirSync(folder).find((each) => each.includes("~vault-svc~") && !each.endsWith(".life.json"));
  return join(folder, name ?? "nothing");
};

let telling = "";
beforeAll(async () => {
  platform = await startPlatform();
  expect(await set(first)).toContain("version 1");
  telling = platform.service("vault-svc", manifest("vault-svc", `env: {URL: "db://app:\${secret.db-password}@db"}\n`), {
    "server.js": TELLING,
  });
  const places = `env: {LOOK_IN: "${platform.data}:${inConfig("")}:/tmp"}\n`;
  const prying = platform.service("prying-svc", manifest("prying-svc", places), { "server.js": PRYING });
  await Promise.all([deploy(telling), deploy(prying)]);
}, 120_000);
afterAll(() => platform?.[Symbol.asyncDispose](), 60_000);

test("a program gets what was set, goes on with it, and goes back to it by a rollback", async () => {
  expect(await answer("/vault-svc")).toBe(firstHash);
  expect(await set(second)).toContain("version 2");
  expect(await answer("/vault-svc")).toBe(firstHash);
  await deploy(telling);
  expect(await answer("/vault-svc")).toBe(secondHash);
  expect(await platform.cli("rollback", "vault-svc")).toMatchObject({ code: 0 });
  expect(await answer("/vault-svc")).toBe(firstHash);
}, 60_000);

test("a replica starts with it while server and database do nothing, also by a new agent, and after the key was replaced", async () => {
  const { keyId } = await platform.json<{ keyId: string }>("sealing-key", "replace");
  const sealed = () => {
    const { spec } = JSON.parse(readFileSync(recordFile(), "utf8"));
    return sealedBy(Buffer.from(spec.secrets[0].sealed, "base64"));
  };
  expect(sealed()).toBe(keyId);
  const past = Date.now() / 1000 - 7200;
  utimesSync(inConfig("secrets.key"), past, past);
  openSealingKey(inConfig("secrets.key")).forgetOld();

  const { components } = await platform.json<{ components: { name: string; pid: string }[] }>("status");
  const pidOf = (name: string) => Number(components.find((each) => each.name === name)?.pid ?? 0);
  const [idle, agent, replica] = [[pidOf("server"), pidOf("postgres")], pidOf("agent"), await replicaPid()];
  for (const pid of idle) process.kill(pid, "SIGSTOP");
  try {
    // By no agent at all it ends, and the next one finds it so.
    process.kill(agent, "SIGKILL");
    process.kill(replica, "SIGKILL");
    const isBack = async () => (await answer("/vault-svc").catch(() => "")) === firstHash;
    await waitFor(isBack, { deadlineMs: 40_000, describe: () => "the replica answers again" });
    expect(holders().filter((each) => each !== "vault-svc")).toEqual([]);
  } finally {
    for (const pid of idle) process.kill(pid, "SIGCONT");
  }
  expect(await replicaPid()).not.toBe(replica);
}, 60_000);

test("a value is in the environment of its own replicas, and nowhere else: no argument, no file, no log, no answer", async () => {
  const held = holders();
  expect(held.length).toBeGreaterThan(0);
  expect([...new Set(held)]).toEqual(["vault-svc"]);

  const log = await platform.cli("logs", "vault-svc");
  expect(log.stdout).toContain("connecting to db://app:***@db");
  const run = await platform.cli("run", "vault-svc", "--", "sh", "-c", "echo it is $URL");
  expect(run).toMatchObject({ code: 0, stdout: "it is db://app:***@db\n" });
  const said = {
    "status vault-svc -o json": "vault-svc",
    "history vault-svc --diff": "secret db-password",
    [`plan ${telling}`]: "secret db-password",
    "audit export": "SecretService/SetSecret",
    "secrets list": "vault-svc (version 1)",
  };
  for (const [line, what] of Object.entries(said)) {
    const { stdout, stderr } = await platform.cli(...line.split(" "));
    expect(stdout).toContain(what);
    expect(stdout + stderr).not.toContain(MARK);
  }
  expect((await platform.cli("__complete", "secrets", "reveal", "db")).stdout).toBe("db-password\tversion 2\n");
  expect((await platform.cli("secrets", "reveal", "db-password")).stdout).toBe(`${second}\n`);

  const paths = { ...resolveInstance({ instance: platform.instance, data: platform.data }), config: inConfig("") };
  await using admin = await openAdmin(connectionSource(paths));
  await admin.query("checkpoint");
  const tables = await admin.query<{ name: string }>(
    "select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname !~ '^(pg_|information_schema)'",
  );
  expect(tables.map(({ name }) => name)).toContain("deployment.secret_version");
  for (const { name } of tables) {
    const found = await admin.query(`select 1 from ${name} t where t::text like '%${MARK}%' limit 1`);
    expect(found, name).toEqual([]);
  }

  // The folder holds data, logs, the journal of the agent, releases, spools, keys and what the programs were copied from.
  const forms = [MARK, Buffer.from(MARK).toString("hex"), Buffer.from(first).toString("base64").slice(0, 20)];
  expect(filesWith(forms, join(platform.data, ".."))).toEqual([]);
}, 60_000);

test("a neighbour sees nothing of it", async () => {
  const { looked, found } = JSON.parse(await answer("/prying-svc"));
  expect(looked).toBeGreaterThan(0);
  expect(found).toEqual([]);
});

test("the key that seals can lie elsewhere: the platform starts by it, replaces it there, and has it in no file", async () => {
  const home = join(platform.data, "..");
  const place = `${home}-credential`;
  const before = readFileSync(inConfig("secrets.key"), "utf8");
  const newKey = () => `hms-kek-v1 ${randomBytes(32).toString("base64")}\n`;
  const keys = [before, newKey(), newKey()];
  writeFileSync(place, before, { mode: 0o600 });
  try {
    writeFileSync(inConfig("secrets.key"), `hms-kek-file ${place}\n`, { mode: 0o600 });
    expect((await platform.cli("restart-component", "server")).code).toBe(0);
    const refused = await platform.cli("sealing-key", "replace", "-o", "json");
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { reason: "SEALING_KEY_ELSEWHERE" } });
    for (const next of keys.slice(1)) {
      writeFileSync(place, next + readFileSync(place, "utf8"));
      const { oldKeyIds } = await platform.json<{ oldKeyIds: string[] }>("sealing-key", "replace");
      expect(oldKeyIds).toHaveLength(1);
      const early = await platform.cli("sealing-key", "forget", "-o", "json");
      expect(JSON.parse(early.stdout)).toMatchObject({ error: { reason: "SEALING_KEY_ELSEWHERE" } });
      writeFileSync(place, next);
      expect((await platform.cli("sealing-key", "forget")).code).toBe(0);
    }
    // All by the newest key alone: the server's own, the audit log's, services' tokens, and what a new agent opens for a replica.
    expect((await platform.cli("restart-component", "server")).code).toBe(0);
    const replica = await replicaPid();
    process.kill(await platform.pidOf("agent"), "SIGKILL");
    process.kill(replica, "SIGKILL");
    const isBack = async () =>
      (await replicaPid().catch(() => replica)) !== replica && (await answer("/vault-svc")) === firstHash;
    await waitFor(isBack, { deadlineMs: 40_000, describe: () => "a new replica answers" });
    expect((await platform.cli("audit", "verify")).stdout).toMatch(/\bverified|complete|intact/i);
    expect((await platform.cli("doctor")).stdout).toContain(`kept where ${inConfig("secrets.key")} says`);
    const texts = keys.map((line) => line.split(" ")[1]?.trim() ?? "");
    expect(filesWith(texts, home)).toEqual([]);
    for (const name of ["workload.key", "part.key"]) {
      expect(readFileSync(inConfig(name), "utf8")).toMatch(/^hms-sealed-v1 /);
    }
  } finally {
    rmSync(place, { force: true });
  }
}, 120_000);

test("a value in the arguments is refused with what to do", async () => {
  const refused = await platform.cli("secrets", "set", "db-password", "--value", "x");
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("--from-file") });
  const unknown = platform.service("lost-svc", manifest("lost-svc", "secrets: {A: db-pasword, B: nothing}\n"));
  const { code, stderr } = await platform.cli("deploy", unknown);
  expect(code).toBe(2);
  expect(stderr).toMatch(/Did you mean "db-password".*\n.*no secret "nothing"/);
});
