import { once } from "node:events";
import { request } from "node:http";
import type { AddressInfo } from "node:net";
import {
  type Caller,
  type CallerSource,
  createProxyEngine,
  DEFAULT_TRAFFIC_POLICY,
  knownCaller,
  type LimitScope,
} from "@hms/proxy";
import { freePort, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { RedisLimits } from "../src/limits/redis-limits.ts";
import { type HoldingService, startHoldingService } from "./support/holding-service.ts";
import { hasRedis, startRedis } from "./support/redis.ts";

const stack = new AsyncDisposableStack();
let service: HoldingService;
let redisUrl = "";

beforeAll(async () => {
  service = stack.use(await startHoldingService());
  if (!hasRedis) return;
  const port = await freePort();
  const redis = await startRedis(port);
  stack.defer(() => void redis.kill("SIGKILL"));
  redisUrl = `redis://127.0.0.1:${port}`;
});
afterAll(() => stack.disposeAsync());

const callerNamed = (name: string): Caller => ({
  name,
  roles: [],
  hasMfa: false,
  authenticatedAtMs: 0,
  environment: "",
  isPermitted: true,
  isWithinScopes: true,
});
/** Two keys of one person, and one of another. */
const KEYS = new Map([
  ["anna-1", knownCaller(callerNamed("user:anna"), "digest of anna-1")],
  ["anna-2", knownCaller(callerNamed("user:anna"), "digest of anna-2")],
  ["ben-1", knownCaller(callerNamed("user:ben"), "digest of ben-1")],
]);
const callers: CallerSource = { find: ({ token }) => KEYS.get(token) ?? { kind: "unknown" } };

/** Who comes after anna has used her allowance by her first key, from 127.0.0.1. */
const SECOND = {
  "herself, by another key": { key: "anna-2", from: "127.0.0.1" },
  "herself, from another address": { key: "anna-1", from: "127.0.0.2" },
  "somebody else at her address": { key: "ben-1", from: "127.0.0.1" },
  "somebody else elsewhere": { key: "ben-1", from: "127.0.0.2" },
} as const;
type Second = keyof typeof SECOND;

const SHARING: Record<LimitScope, readonly Second[]> = {
  principal: ["herself, by another key", "herself, from another address"],
  credential: ["herself, from another address"],
  address: ["herself, by another key", "somebody else at her address"],
  route: Object.keys(SECOND) as Second[],
};

async function openGateway(by: LimitScope, kind: "rate" | "concurrency", store: "memory" | "Redis") {
  const own = new AsyncDisposableStack();
  const shared = store === "Redis" ? own.use(new RedisLimits(redisUrl, { patienceMs: 3000 })) : undefined;
  if (shared) await waitFor(() => shared.problem === undefined, { describe: () => "Redis to be used" });
  const engine = own.use(createProxyEngine({ callers, ...(shared && { sharedLimits: shared }) }));
  const limit =
    kind === "rate"
      ? { by, count: 1, periodMs: 3_600_000, burst: 1, concurrency: 0 }
      : { by, count: 0, periodMs: 0, burst: 0, concurrency: 1 };
  const auth = { isOptional: false, roles: [], permission: "", needsMfa: false, mfaMaxAgeMs: 0 };
  const endpoint = { id: "a", host: "127.0.0.1", port: service.port, state: "active" as const, weight: 1, revision: 1 };
  const name = `${by}-${kind}`;
  // A route for each of those who come second: limits of one do not count for another.
  const routes = Object.keys(SECOND).map((_, index) => ({
    path: `/${index}`,
    methods: [],
    rules: { auth, limits: [limit] },
  }));
  engine.apply({
    environments: [],
    services: [{ environment: "default", name, endpoints: [endpoint], policy: DEFAULT_TRAFFIC_POLICY, routes }],
  });
  const server = engine.createServer(engine.gatewayHandler).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const ask = async (path: string, { key, from }: { key: string; from: string }): Promise<number> => {
    const headers = { authorization: `Bearer ${key}` };
    const asking = request({ host: "127.0.0.1", port, path, headers, localAddress: from, agent: false });
    const [response] = await once(asking.end(), "response");
    response.resume();
    await once(response, "end");
    return response.statusCode;
  };
  return { ask, [Symbol.asyncDispose]: () => own.disposeAsync() };
}

const scopes = Object.keys(SHARING) as LimitScope[];
const kinds = ["rate", "concurrency"] as const;
const stores = ["memory", ...(hasRedis ? (["Redis"] as const) : [])] as const;
const cases = stores.flatMap((store) => kinds.flatMap((kind) => scopes.map((by) => [by, kind, store] as const)));

test.each(cases)(
  "a limit by %s of %s, counted in %s, is shared by those it is for and nobody else",
  async (by, kind, store) => {
    await using gateway = await openGateway(by, kind, store);
    const refused: string[] = [];
    for (const [index, [who, second]] of Object.entries(SECOND).entries()) {
      const first = gateway.ask(`/${index}`, { key: "anna-1", from: "127.0.0.1" });
      await waitFor(() => service.running === 1, { describe: () => "the first request to run" });
      // Of rates an ended request counts too; of running ones only those that run.
      if (kind === "rate") {
        service.release();
        expect(await first).toBe(200);
      }
      const running = service.running;
      const next = gateway.ask(`/${index}`, second);
      const isIn = waitFor(() => service.running === running + 1, {
        deadlineMs: 20_000,
        describe: () => "the second to run",
      }).then(() => 200);
      isIn.catch(() => {});
      if ((await Promise.race([next, isIn])) === 429) refused.push(who);
      service.release();
      expect(await first).toBe(200);
      await next;
      await waitFor(() => service.running === 0, { describe: () => "nothing to run" });
    }
    expect(refused.sort()).toEqual([...SHARING[by]].sort());
  },
);
