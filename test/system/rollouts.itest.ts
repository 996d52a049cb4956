import { isThorough, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { openJudge } from "./judge.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
  post = { url: platform.url("/echo-svc"), method: "POST", body: '{"x":1}' };
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

async function deploy(version: string, more: Partial<Parameters<typeof echoService>[1]> = {}) {
  return platform.cli("deploy", echoService(platform, { version, ...more }));
}
let post: { url: string; method: "POST"; body: string };
const servingVersion = async () =>
  ((await (await fetch(platform.url("/echo-svc"))).json()) as { version: string }).version;

describe("replacing a version", () => {
  test("many times in a row under load fails no request, and the last one serves", async () => {
    const turns = isThorough ? 10 : 4;
    expect((await deploy("0")).code).toBe(0);
    await using load = startLoad({ ...post, perSecond: 200 });
    for (let turn = 1; turn <= turns; turn += 1) {
      const { code, stderr } = await deploy(`${turn}`);
      expect({ code, stderr }).toMatchObject({ code: 0 });
    }
    const records = await load.stop();
    expect(failures(records)).toEqual([]);
    expect(records.length).toBeGreaterThan(50 * turns);
    expect(await servingVersion()).toBe(`${turns}`);
  }, 180_000);

  test("by one that never becomes healthy gives it no traffic, says why, and exits 3", async () => {
    await deploy("good");
    await using load = startLoad({ ...post, perSecond: 100 });
    const before = 'for (let n = 1; n <= 30; n += 1) console.error("no database, try " + n); process.exit(17);';
    const { code, stderr } = await deploy("bad", { before });
    expect(code).toBe(3);
    expect(stderr).toContain("exit code 17");
    // The last twenty: nineteen of the program, and the agent's remark.
    const tries = Array.from({ length: 19 }, (_, index) => `no database, try ${index + 12}`);
    expect(lastLogLines(stderr)).toEqual([...tries, "exited with code 17"]);
    expect(stderr).toMatch(/version.*good.*→.*bad/);
    const records = await load.stop();
    expect(failures(records)).toEqual([]);
    expect(records.every(({ body }) => body.includes('"good"'))).toBe(true);
  }, 90_000);

  test("by one that is ended by a signal names the signal", async () => {
    await deploy("good");
    const { code, stderr } = await deploy("bad", { before: 'process.kill(process.pid, "SIGSEGV"); while (true);' });
    expect(code).toBe(3);
    expect(stderr).toContain("ended by SIGSEGV");
  }, 90_000);

  test("by one whose health check fails shows the last answer of the check", async () => {
    await deploy("good");
    const before =
      'require("node:http").createServer((q, r) => { r.statusCode = 503; r.end("warming up for ever"); }).listen(Number(process.env.PORT), "127.0.0.1"); return;';
    const { code, stderr } = await deploy("sick", { before, startTimeout: "3s" });
    expect(code).toBe(3);
    expect(stderr).toContain("503");
    expect(stderr).toContain("warming up for ever");
    expect(await servingVersion()).toBe("good");
  }, 120_000);

  test("back to the last good one takes its program as it was", async () => {
    await deploy("first");
    await deploy("second");
    const { code } = await platform.cli("rollback", "echo-svc");
    expect(code).toBe(0);
    expect(await servingVersion()).toBe("first");
  }, 90_000);
});

describe("two deploys of one service at once", () => {
  test("both happen, one after the other", async () => {
    const file = echoService(platform, { version: "twice" });
    const results = await Promise.all([platform.cli("deploy", file), platform.cli("deploy", file)]);
    expect(results.map(({ code }) => code)).toEqual([0, 0]);
    expect(results.some(({ stderr }) => stderr.includes("waiting for rollout"))).toBe(true);
  }, 90_000);

  test("with --no-wait-lock the second exits 6 and names the holder", async () => {
    const slow = echoService(platform, {
      version: "slow",
      manifest: "",
      before: "const until = Date.now() + 3000; while (Date.now() < until);",
    });
    const first = platform.cli("deploy", slow);
    let holder = "";
    const runs = async () => {
      holder = (await platform.json<{ rolloutId: string }[]>("services"))[0]?.rolloutId ?? "";
      return holder !== "";
    };
    await waitFor(runs, { deadlineMs: 10_000, describe: () => "the first deploy runs" });
    const second = await platform.cli("deploy", slow, "--no-wait-lock");
    expect(second.code).toBe(6);
    expect(second.stderr).toContain(holder);
    expect((await first).code).toBe(0);
  }, 90_000);
});

describe("the other verbs", () => {
  test("scale up, scale down, restart, stop and remove do what they say, without losing a request until stop", async () => {
    await deploy("verbs");
    await using load = startLoad({ ...post, perSecond: 100 });
    expect((await platform.cli("scale", "echo-svc", "4")).code).toBe(0);
    expect(await ready()).toBe(4);
    expect((await platform.cli("restart", "echo-svc")).code).toBe(0);
    expect((await platform.cli("scale", "echo-svc", "1")).code).toBe(0);
    expect(await ready()).toBe(1);
    expect(failures(await load.stop())).toEqual([]);
    expect((await platform.cli("stop", "echo-svc")).code).toBe(0);
    expect((await fetch(platform.url("/echo-svc"))).status).toBe(503);
    expect((await platform.cli("rm", "echo-svc")).code).toBe(2);
    expect((await platform.cli("rm", "echo-svc", "--yes")).code).toBe(0);
    expect(await platform.json("services")).toEqual([]);
  }, 120_000);
});

describe("a rollout that cannot be undone either", () => {
  test("exits 4 and says so; what is left serves, and a later deploy mends it", async () => {
    let broken = false;
    const serving = new Set<string>();
    /** The first new replica is healthy; from the second one on nothing that starts becomes healthy any more. */
    const decide = (path: string): number => {
      const [, version, replica = ""] = path.split("/");
      if (version === "new" && ![...serving].some((known) => known.startsWith("new"))) serving.add(`new ${replica}`);
      if (version === "old" && !broken) serving.add(`old ${replica}`);
      broken ||= version === "new" && !serving.has(`new ${replica}`);
      return serving.has(`${version} ${replica}`) ? 200 : 503;
    };
    await using judge = await openJudge(decide);
    const judged = (version: string) => ({
      startTimeout: "2s",
      before: `
const { createServer } = require("node:http");
createServer(async ({ url }, response) => {
  const replica = encodeURIComponent(process.env.HMS_REPLICA);
  if (url === "/healthz") response.statusCode = (await fetch("${judge.url}/${version}/" + replica)).status;
  response.end(JSON.stringify({ version: "${version}" }));
}).listen(Number(process.env.PORT), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
return;`,
    });
    expect(await deploy("old", judged("old"))).toMatchObject({ code: 0 });
    const { code, stderr } = await deploy("new", judged("new"));
    expect({ code, stderr }).toMatchObject({ code: 4, stderr: expect.stringContaining("Failed and not restored") });
    expect(stderr).toContain("Undoing it failed too");
    expect(["old", "new"]).toContain(await servingVersion());
    expect(await deploy("mended")).toMatchObject({ code: 0 });
    expect(await servingVersion()).toBe("mended");
  }, 120_000);
});

describe("a release command", () => {
  test("runs once, before the new version gets traffic, while the old one serves", async () => {
    const served: string[] = [];
    await using judge = await openJudge(async (path) => {
      // The old version's, for the second release: whoever serves meanwhile is told on.
      if (path === "/2") served.push(await servingVersion());
      return 200;
    });
    const release = (version: string) => ({ run: `  release: curl -fsS ${judge.url}/${version}` });
    expect(await deploy("1", release("1"))).toMatchObject({ code: 0 });
    await using load = startLoad({ ...post, perSecond: 100 });
    expect(await deploy("2", release("2"))).toMatchObject({ code: 0 });
    expect(judge.questions).toEqual(["/1", "/2"]);
    expect(served).toEqual(["1"]);
    expect(await servingVersion()).toBe("2");
    expect(failures(await load.stop())).toEqual([]);
  }, 90_000);

  test("that fails leaves the old version serving, says how it ended, and exits 3", async () => {
    await deploy("1");
    const { code, stderr } = await deploy("2", { run: "  release: echo no such table >&2; exit 9" });
    expect({ code, stderr }).toMatchObject({ code: 3, stderr: expect.stringContaining("exit code 9") });
    expect(stderr).toContain("no such table");
    expect(await servingVersion()).toBe("1");
  }, 90_000);
});

describe("a TCP check", () => {
  test("gives a version no traffic before it listens", async () => {
    const before = "const until = Date.now() + 1000; while (Date.now() < until);";
    expect(await deploy("1", { check: "tcp" })).toMatchObject({ code: 0 });
    await using load = startLoad({ ...post, perSecond: 100 });
    expect(await deploy("2", { check: "tcp", before })).toMatchObject({ code: 0 });
    expect(failures(await load.stop())).toEqual([]);
    expect(await servingVersion()).toBe("2");
  }, 90_000);

  test("refuses a version that never listens, says so, and exits 3", async () => {
    await deploy("1", { check: "tcp" });
    const before = "setInterval(() => {}, 1000); return;";
    const { code, stderr } = await deploy("2", { check: "tcp", before, startTimeout: "1s" });
    expect({ code, stderr }).toMatchObject({ code: 3, stderr: expect.stringMatching(/last probe: .*refused/i) });
    expect(await servingVersion()).toBe("1");
  }, 90_000);
});

/** The lines of the log that a failed deploy shows, without their times. */
function lastLogLines(stderr: string): string[] {
  const [, block = ""] = /last \d+ log lines.*\n((?: {4}.*\n)+)/.exec(stderr) ?? [];
  return block
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(/^ {4}\S+ /, ""));
}

async function ready(): Promise<number> {
  const { service } = await platform.json<{ service: { replicasReady: number } }>("status", "echo-svc");
  return service.replicasReady;
}
