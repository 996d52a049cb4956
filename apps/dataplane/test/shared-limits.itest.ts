import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createProxyEngine, DEFAULT_TRAFFIC_POLICY } from "@hms/proxy";
import { freePort, waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { RedisRates } from "../src/limits/redis-rates.ts";
import { startUpstream } from "./support/upstream.ts";

const hasRedis = spawnSync("redis-server", ["--version"]).error === undefined;
const COUNT = 6;

async function startRedis(port: number): Promise<ChildProcess> {
  const redis = spawn(
    "redis-server",
    ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
    { stdio: "ignore" },
  );
  await once(redis, "spawn");
  return redis;
}

async function startGateway(url: string, upstream: number, stack: AsyncDisposableStack) {
  const rates = stack.use(new RedisRates(url, { patienceMs: 3000 }));
  const engine = stack.use(createProxyEngine({ sharedRates: rates }));
  const limits = [{ by: "route" as const, count: COUNT, periodMs: 3_600_000, burst: COUNT, concurrency: 0 }];
  const endpoint = { id: "a", host: "127.0.0.1", port: upstream, state: "active" as const, weight: 1000, revision: 1 };
  const service = { environment: "default", name: "svc", endpoints: [endpoint], policy: DEFAULT_TRAFFIC_POLICY };
  engine.apply({
    environments: [],
    services: [{ ...service, routes: [{ path: "/*", methods: [], rules: { limits } }] }],
  });
  const server = engine.createServer(engine.gatewayHandler).listen(0, "127.0.0.1");
  await once(server, "listening");
  const ask = async () =>
    (await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`, { headers: { connection: "close" } }))
      .status;
  return { rates, ask };
}

test.skipIf(!hasRedis)(
  "two gateways with one Redis have one limit; without it each counts for itself, and then together again",
  async () => {
    await using stack = new AsyncDisposableStack();
    const port = await freePort();
    let redis = await startRedis(port);
    stack.defer(() => void redis.kill("SIGKILL"));
    const upstream = stack.use(await startUpstream("limited"));
    const [a, b] = [
      await startGateway(`redis://127.0.0.1:${port}`, upstream.port, stack),
      await startGateway(`redis://127.0.0.1:${port}`, upstream.port, stack),
    ];
    const areUsed = () => a.rates.problem === undefined && b.rates.problem === undefined;
    await waitFor(areUsed, { describe: () => "Redis to be used" });

    const statuses = [];
    for (let i = 0; i < COUNT; i++) statuses.push(await a.ask(), await b.ask());
    expect(statuses.filter((status) => status === 200)).toHaveLength(COUNT);
    expect(a.rates.counts).toEqual({ shared: COUNT, alone: 0 });

    redis.kill("SIGKILL");
    await once(redis, "exit");
    // What each has let through before counts: half of the limit is left to each.
    const alone = [];
    for (let i = 0; i < COUNT; i++) alone.push(await a.ask());
    expect(alone.filter((status) => status === 200)).toHaveLength(COUNT / 2);
    expect(a.rates.problem).toContain("each gateway counts limits for itself");

    redis = await startRedis(port);
    await waitFor(areUsed, { deadlineMs: 10_000, describe: () => "Redis to be used again" });
    const again = [];
    for (let i = 0; i < COUNT; i++) again.push(await a.ask(), await b.ask());
    expect(again.filter((status) => status === 200)).toHaveLength(COUNT);

    redis.kill("SIGSTOP");
    await a.ask();
    // Who has not answered is not waited for again.
    const began = performance.now();
    await a.ask();
    expect(performance.now() - began).toBeLessThan(1000);
  },
  60_000,
);
