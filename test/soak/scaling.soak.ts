import { waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { echoService } from "../system/echo-service.ts";
import { type Platform, startPlatform } from "../system/platform.ts";

/** Each answer takes a second, so that as many requests run at once as come in one. */
const before = `const make = http.createServer;
http.createServer = (handle) => make((request, response) => {
  if (request.url === "/healthz") return handle(request, response);
  setTimeout(handle, 1000, request, response);
});`;
const HOLD_MS = 20_000;

async function replicas(platform: Platform): Promise<number> {
  const [service] = await platform.json<{ replicasReady: number }[]>("services");
  return service?.replicasReady ?? 0;
}

/** Keeps so many requests running until it is stopped; how many of them were not answered by 200. */
function keepRunning(platform: Platform, atOnce: number) {
  let stopped = false;
  let answered = 0;
  let failed = 0;
  const one = async () => {
    while (!stopped) {
      const response = await fetch(platform.url("/echo-svc")).catch(() => undefined);
      await response?.text();
      if (response?.status === 200) answered += 1;
      else failed += 1;
    }
  };
  const all = Promise.all(Array.from({ length: atOnce }, one));
  return async () => {
    stopped = true;
    await all;
    return { answered, failed };
  };
}

async function reach(platform: Platform, wanted: number): Promise<number> {
  const began = performance.now();
  await waitFor(async () => (await replicas(platform)) === wanted, {
    deadlineMs: 120_000,
    describe: () => `${wanted} replicas`,
  });
  return Math.round(performance.now() - began);
}

test("real replicas follow a real load: from 1 to what it needs, not beyond max, and back, without a failed request", async () => {
  await using platform = await startPlatform();
  const scaling = "concurrency: 10, stabilization: 5s";
  const service = echoService(platform, { version: "1", replicas: 1, before, scaling });
  expect(await platform.cli("deploy", service)).toMatchObject({ code: 0 });
  expect(await replicas(platform)).toBe(1);

  // 20 at once, 70 % of 10 each: three replicas.
  const stopSome = keepRunning(platform, 20);
  const upMs = await reach(platform, 3);
  const until = performance.now() + HOLD_MS;
  await waitFor(
    async () => {
      expect(await replicas(platform)).toBe(3);
      return performance.now() >= until;
    },
    { deadlineMs: HOLD_MS + 10_000, intervalMs: 1000, describe: () => "the number to stay" },
  );
  const explained = (await platform.cli("scale", "explain", "echo-svc")).stdout;
  expect(explained).toContain("The load decides, by concurrency");
  const some = await stopSome();
  const downMs = await reach(platform, 1);
  console.log(`1 → 3 after ${upMs} ms, back after ${downMs} ms; ${some.answered} answered, ${some.failed} failed`);
  expect(some.failed).toBe(0);
  expect(downMs).toBeGreaterThan(4000);
});
