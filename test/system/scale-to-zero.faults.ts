import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { type Platform, startPlatform } from "./platform.ts";

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform();
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const health = async () => (await platform.json<{ health: string }[]>("services"))[0]?.health;

const asleep = () =>
  waitFor(async () => (await health()) === "SERVICE_HEALTH_ASLEEP", {
    deadlineMs: 60_000,
    describe: () => "the service is asleep",
  });

/** Requests at once, each over a connection of its own; how long the first and the last answer took. */
async function ask(count: number) {
  const began = performance.now();
  const answers = Array.from({ length: count }, async () => {
    const { status } = await fetch(platform.url("/echo-svc"));
    return { status, ms: performance.now() - began };
  });
  const times = (await Promise.all(answers)).toSorted((a, b) => a.ms - b.ms);
  return {
    statuses: new Set(times.map(({ status }) => status)),
    firstMs: times[0]?.ms ?? 0,
    lastMs: times.at(-1)?.ms ?? 0,
  };
}

describe("a service with a minimum of 0, behind the real gateway", () => {
  test("is without replicas after a quiet time, and 50 requests that come at once wait for the first and are answered", async () => {
    const file = echoService(platform, { version: "1", replicas: 0, scaling: "idle: 2s, concurrency: 1000" });
    expect(await platform.cli("deploy", file)).toMatchObject({ code: 0 });
    await asleep();
    expect((await platform.cli("status", "echo-svc", "--wait")).stdout).toContain("asleep");
    const { statuses, firstMs, lastMs } = await ask(50);
    process.stdout.write(
      `from zero: first answer after ${Math.round(firstMs)} ms, last after ${Math.round(lastMs)} ms\n`,
    );
    expect([...statuses]).toEqual([200]);
    const explained = await platform.cli("scale", "explain", "echo-svc");
    expect(explained.stdout).toContain("a request waits for a replica");
    expect(explained.stdout).toContain("1 → 0");
  }, 120_000);

  test("wakes although the server is killed while it sleeps, and the data plane with it", async () => {
    await asleep();
    for (const component of ["dataplane", "server"]) process.kill(await platform.pidOf(component), "SIGKILL");
    await waitFor(async () => (await ask(1).catch(() => undefined))?.statuses.has(200) ?? false, {
      deadlineMs: 60_000,
      describe: () => "an answer",
    });
  }, 120_000);

  test("a person's number holds against the load, and what is stopped holds no request", async () => {
    expect(await platform.cli("scale", "echo-svc", "2")).toMatchObject({ code: 0 });
    expect((await platform.cli("scale", "explain", "echo-svc")).stdout).toContain("A person has set 2");
    expect(await platform.cli("scale", "echo-svc", "auto")).toMatchObject({ code: 0 });
    expect((await platform.cli("scale", "explain", "echo-svc")).stdout).toContain("The load decides, by concurrency");
    expect(await platform.cli("stop", "echo-svc")).toMatchObject({ code: 0 });
    const { statuses, lastMs } = await ask(1);
    expect([...statuses]).toEqual([503]);
    expect(lastMs).toBeLessThan(5_000);
  }, 120_000);
});
