import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

async function deploy(version: string, more: Partial<Parameters<typeof echoService>[1]> = {}) {
  return platform.cli("deploy", echoService(platform, { version, ...more }));
}
const servingVersion = async () =>
  ((await (await fetch(platform.url("/echo-svc"))).json()) as { version: string }).version;

describe("replacing a version", () => {
  test("ten times in a row under load fails no request, and the last one serves", async () => {
    expect((await deploy("0")).code).toBe(0);
    await using load = startLoad({ url: platform.url("/echo-svc"), method: "POST", body: '{"x":1}', perSecond: 200 });
    for (let turn = 1; turn <= 10; turn += 1) {
      const { code, stderr } = await deploy(`${turn}`);
      expect({ code, stderr }).toMatchObject({ code: 0 });
    }
    const records = await load.stop();
    expect(failures(records)).toEqual([]);
    expect(records.length).toBeGreaterThan(500);
    expect(await servingVersion()).toBe("10");
  }, 180_000);

  test("by one that never becomes healthy gives it no traffic, says why, and exits 3", async () => {
    await deploy("good");
    await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 100 });
    const { code, stderr } = await deploy("bad", { before: 'console.error("no database today"); process.exit(17);' });
    expect(code).toBe(3);
    expect(stderr).toContain("no database today");
    expect(stderr).toContain("17");
    expect(stderr).toMatch(/version.*good.*→.*bad/);
    const records = await load.stop();
    expect(failures(records)).toEqual([]);
    expect(records.every(({ body }) => body.includes('"good"'))).toBe(true);
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
    await waitFor(async () => (await platform.json<{ rolloutId: string }[]>("services"))[0]?.rolloutId !== "", {
      deadlineMs: 10_000,
      describe: () => "the first deploy runs",
    });
    const second = await platform.cli("deploy", slow, "--no-wait-lock");
    expect(second.code).toBe(6);
    expect(second.stderr).toMatch(/rollout/i);
    expect((await first).code).toBe(0);
  }, 90_000);
});

describe("the other verbs", () => {
  test("scale up, scale down, restart, stop and remove do what they say, without losing a request until stop", async () => {
    await deploy("verbs");
    await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 100 });
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

async function ready(): Promise<number> {
  const { service } = await platform.json<{ service: { replicasReady: number } }>("status", "echo-svc");
  return service.replicasReady;
}
