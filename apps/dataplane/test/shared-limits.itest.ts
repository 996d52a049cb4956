import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { createProxyEngine, DEFAULT_TRAFFIC_POLICY, type RouteLimit } from "@hms/proxy";
import { freePort, waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { RedisLimits } from "../src/limits/redis-limits.ts";
import { startHoldingService } from "./support/holding-service.ts";
import { hasRedis, startRedis } from "./support/redis.ts";
import { startUpstream } from "./support/upstream.ts";

const COUNT = 6;
const PLACES = 2;
const RATE: RouteLimit = { by: "route", count: COUNT, periodMs: 3_600_000, burst: COUNT, concurrency: 0 };
const AT_ONCE: RouteLimit = { by: "route", count: 0, periodMs: 0, burst: 0, concurrency: PLACES };

interface Surroundings {
  stack: AsyncDisposableStack;
  limit?: RouteLimit;
}

/** A gateway whose one route has this limit. */
async function startGateway(url: string, upstream: number, { stack, limit = RATE }: Surroundings) {
  const rates = stack.use(new RedisLimits(url, { patienceMs: 3000, leaseMs: 1500, renewEveryMs: 200 }));
  const engine = stack.use(createProxyEngine({ sharedLimits: rates }));
  const limits = [limit];
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
      await startGateway(`redis://127.0.0.1:${port}`, upstream.port, { stack }),
      await startGateway(`redis://127.0.0.1:${port}`, upstream.port, { stack }),
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

test.skipIf(!hasRedis)(
  "two gateways with one Redis let together as many requests run as may, however Redis comes and goes",
  async () => {
    await using stack = new AsyncDisposableStack();
    const port = await freePort();
    let redis = await startRedis(port);
    stack.defer(() => void redis.kill("SIGKILL"));
    const service = stack.use(await startHoldingService());
    const url = `redis://127.0.0.1:${port}`;
    const [a, b] = [
      await startGateway(url, service.port, { stack, limit: AT_ONCE }),
      await startGateway(url, service.port, { stack, limit: AT_ONCE }),
    ];
    const areUsed = () => a.rates.problem === undefined && b.rates.problem === undefined;
    await waitFor(areUsed, { describe: () => "Redis to be used" });
    const runs = (count: number) => waitFor(() => service.running === count, { describe: () => `${count} to run` });

    /** Asks until a request is let in: that one has ended is told to Redis a moment after its client knows. */
    const enter = async (gateway: typeof a): Promise<Promise<number>[]> => {
      const asked: Promise<number>[] = [];
      const isIn = async () => {
        const before = service.running;
        let status = 0;
        const next = gateway.ask();
        void next.then((answer) => {
          status = answer;
        });
        asked.push(next);
        await waitFor(() => status === 429 || service.running > before, { describe: () => "an answer, or none" });
        return status !== 429;
      };
      await waitFor(isIn, { describe: () => "a free place to be had" });
      return asked;
    };

    const first = [a.ask(), b.ask()];
    await runs(PLACES);
    expect([await a.ask(), await b.ask()]).toEqual([429, 429]);
    // Places last for as long as the request does, not for a lease.
    await pause(2000);
    expect([await a.ask(), await b.ask()]).toEqual([429, 429]);
    service.release(1);
    first.push(...(await enter(b)));
    await runs(PLACES);

    redis.kill("SIGKILL");
    await once(redis, "exit");
    // Each counts what runs at itself: at most as often as there are gateways.
    await waitFor(() => !areUsed(), { describe: () => "Redis to be missed" });
    const alone = [a.ask(), b.ask(), a.ask(), b.ask(), a.ask(), b.ask()];
    await runs(2 * PLACES);
    // What ran before Redis came back is on record there again, so nobody else comes in.
    redis = await startRedis(port);
    await waitFor(areUsed, { deadlineMs: 10_000, describe: () => "Redis to be used again" });
    const c = await startGateway(url, service.port, { stack, limit: AT_ONCE });
    await waitFor(() => c.rates.problem === undefined, { describe: () => "Redis to be used by a third one" });
    await pause(500);
    expect(await c.ask()).toBe(429);
    service.release();
    const statuses = await Promise.all([...first, ...alone]);
    expect(statuses.filter((status) => status === 200).length).toBe(2 * PLACES + 1);
    const last = [...(await enter(c)), ...(await enter(b))];
    await runs(PLACES);
    service.release();
    expect((await Promise.all(last)).filter((status) => status === 200)).toHaveLength(PLACES);
  },
  60_000,
);
