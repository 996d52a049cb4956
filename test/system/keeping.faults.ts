import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { hmsSys, type Platform, runCommand, startPlatform } from "./platform.ts";

const versionFile = (data: string) => join(data, "postgres", "PG_VERSION");

/** `up` in the surroundings of an installation, and all it says. */
function up(env: NodeJS.ProcessEnv, ...args: string[]) {
  const child = spawn(hmsSys, ["up", ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  const run = { child, said: "", ended: new Promise<number | null>((done) => child.once("close", done)) };
  child.stderr.on("data", (text) => {
    run.said += text;
  });
  const says = (words: string) =>
    waitFor(() => run.said.includes(words), { deadlineMs: 90_000, describe: () => `"${words}" in: ${run.said}` });
  return Object.assign(run, { says });
}

describe("a part that cannot start", () => {
  test("where nothing serves yet is said, and nothing is left running; Ctrl-C need not wait for it", async () => {
    const home = mkdtempSync(join(tmpdir(), "hms-"));
    const data = join(home, "d");
    const instance = `t${process.pid}b`;
    const env = { ...process.env, XDG_CONFIG_HOME: join(home, "c"), HMS_INSTANCE: instance, HMS_DATA: data };
    mkdirSync(join(data, "postgres"), { recursive: true });
    writeFileSync(versionFile(data), "12\n");
    const interrupted = up(env);
    await waitFor(() => readFileSync(join(data, "logs", "agent.log"), "utf8").includes("PostgreSQL 12"), {
      deadlineMs: 30_000,
      describe: "the part has failed",
    });
    interrupted.child.kill("SIGINT");
    expect({ code: await interrupted.ended, said: interrupted.said }).toMatchObject({
      code: 130,
      said: expect.stringContaining("Stopped."),
    });
    const failed = up(env);
    expect({ code: await failed.ended, said: failed.said }).toMatchObject({
      code: 1,
      said: expect.stringMatching(/Stopped\.\s.*postgres: .*PostgreSQL 12/s),
    });
    expect((await runCommand([hmsSys, "down"], env)).stderr).toContain("Nothing runs here");
    rmSync(home, { recursive: true });
  }, 120_000);

  test("leaves services serving, says so, and is waited for until it is mended", async () => {
    await using platform = await deployed();
    await platform.stop();
    const version = readFileSync(versionFile(platform.data), "utf8");
    writeFileSync(versionFile(platform.data), "12\n");
    const again = up(platform.env);
    await again.says("serve on with what was known");
    expect(again.said).toMatch(/postgres: .*PostgreSQL 12/);
    expect((await fetch(platform.url("/echo-svc"))).status).toBe(200);
    writeFileSync(versionFile(platform.data), version);
    await again.says("Ready in");
    again.child.kill("SIGINT");
    expect(await again.ended).toBe(0);
  }, 120_000);
});

describe("an `up` that was killed", () => {
  test("has a successor that takes the installation over and loses no request", async () => {
    await using platform = await deployed();
    const agent = await platform.pidOf("agent");
    await using load = startLoad({ url: platform.url("/echo-svc"), method: "POST", body: "{}", perSecond: 100 });
    platform.up.kill("SIGKILL");
    const refused = up(platform.env);
    expect({ code: await refused.ended, said: refused.said }).toMatchObject({ code: 6 });
    const next = up(platform.env, "--take-over");
    await next.says("Ctrl-C stops everything");
    expect(await platform.pidOf("agent")).not.toBe(agent);
    expect(failures(await load.stop())).toEqual([]);
    // The new one keeps the agent from now on.
    process.kill(await platform.pidOf("agent"), "SIGKILL");
    await next.says("starting it again");
    await waitFor(async () => (await platform.pidOf("agent").catch(() => 0)) > 0, {
      deadlineMs: 20_000,
      describe: "it is back",
    });
    const last = up(platform.env, "--take-over");
    expect({ code: await next.ended, said: next.said }).toMatchObject({
      code: 0,
      said: expect.stringContaining("Another `hms-sys up` keeps this installation"),
    });
    await last.says("Ctrl-C stops everything");
    last.child.kill("SIGINT");
    expect(await last.ended).toBe(0);
    expect((await platform.cli("down")).stderr).toContain("Nothing runs here");
  }, 120_000);
});

async function deployed(): Promise<Platform> {
  const platform = await startPlatform();
  expect(await platform.cli("deploy", echoService(platform, { version: "1" }))).toMatchObject({ code: 0 });
  return platform;
}
