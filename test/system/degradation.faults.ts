import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { resolveInstance } from "@hms/config";
import { audit, automationRuns, deployment, identityKeys, identityUsers, policy } from "@hms/contracts";
import { Client, type ServedService, serve } from "@hms/ffi";
import { createClient, type HmsError, type Transport } from "@hms/kernel";
import { connectionSource, openAdmin } from "@hms/postgres";
import { waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { type Platform, startPlatform } from "./platform.ts";
import { readTable } from "./read-table.ts";

const root = resolve(import.meta.dirname, "../..");
const table = readTable(join(root, "docs/guide/degradation.md"));
const DOCTOR = "`hms-sys doctor` names";
/** Nobody waits for longer, whatever is away. */
const LONGEST_MS = 25_000;

const stack = new AsyncDisposableStack();
let platform: Platform;
let operator: Transport;
let shop: ServedService;
let caller: Client | undefined;
let keys: string[] = [];
let counter = 0;
let remembered = "";

const config = () => join(platform.env.XDG_CONFIG_HOME ?? "", "hms-sys", platform.instance);
const paths = () => ({ ...resolveInstance(platform), config: config() });
const connect = (): Transport => {
  // As a command is connected (apps/cli/src/session.ts).
  const options = { path: paths().kernelSocket, token: operatorToken(), waitForReadyMs: 10_000, keepAliveMs: 5000 };
  return stack.use(connectSocket(options));
};
const operatorToken = () => readFileSync(join(config(), "operator.token"), "utf8").trim();
const registryOf = () => ({ registryUrl: `unix:${paths().kernelSocket}`, token: operatorToken() });

beforeAll(async () => {
  const examples = ["receipt", "payment"].map((name) => resolve(root, `examples/${name}/${name}.hms.yml`));
  platform = stack.use(
    await startPlatform({ args: ["--apart", "registry,communication", "--deploy", examples.join(",")] }),
  );
  const route = "    auth: required\n    roles: [operator]";
  const deployed = await platform.cli("deploy", echoService(platform, { version: "1", replicas: 1, route }));
  expect(deployed, deployed.stderr).toMatchObject({ code: 0 });
  await platform.json("users", "create", "ben", "--roles", "operator");
  operator = connect();
  const keyService = createClient(identityKeys.KeyService, operator);
  keys = await Promise.all(
    Array.from({ length: 80 }, async (_, n) => (await keyService.createKey({ name: `k${n}`, user: "ben" })).secret),
  );
  shop = stack.use(
    await serve({
      serviceId: "demo.shop",
      listen: `unix:${platform.data}/shop.sock`,
      ...registryOf(),
      methods: { GetPrice: { input: { type: "object" }, output: { type: "object" }, handler: () => ({}) } },
    }),
  );
  await shop.registered;
  const allowed = { policyId: "shop", service: "demo.shop", allowedRoles: ["operator"] };
  await createClient(policy.PolicyService, operator).putPolicy({ policy: allowed });
}, 180_000);
afterAll(() => stack.disposeAsync(), 60_000);

/** How a request at the gateway ends. */
async function atGateway(path: string, { key, method = "GET" }: { key?: string; method?: string } = {}) {
  const headers = { "content-type": "application/json", ...(key ? { authorization: `Bearer ${key}` } : {}) };
  const body = method === "POST" ? '{"email":"a@b.c","amount":12}' : null;
  const { status } = await fetch(platform.url(path), { method, headers, body });
  return status === 200 ? "goes on" : String(status);
}

/** How a call ends; a refusal has to say something that a person can use. */
async function called(work: () => Promise<unknown>): Promise<string> {
  try {
    await work();
    return "goes on";
  } catch (thrown) {
    const { code, message } = thrown as HmsError;
    expect(message).not.toMatch(/did not expect|^The call's deadline/);
    return `\`${code}\``;
  }
}

// About another service: a policy that takes something away ends tickets.
const rule = () => ({ policyId: "p", service: "demo.other", allowedRoles: [`r${counter++}`] });
const probes: Record<string, () => Promise<string>> = {
  "traffic through gateway and mesh": () => atGateway("/pay", { method: "POST" }),
  "direct calls with tickets": () => called(async () => caller?.call("GetPrice", {})),
  "remembered callers at the gateway, reading": () => atGateway("/echo-svc", { key: remembered }),
  "remembered callers, changing something": () => atGateway("/echo-svc", { key: remembered, method: "POST" }),
  "callers that are not remembered": () => atGateway("/echo-svc", { key: keys.pop() ?? "" }),
  "the first call of a service": () =>
    called(async () => {
      await using stranger = new Client("demo.shop", { ...registryOf(), token: keys.pop() ?? "" });
      await stranger.call("GetPrice", {});
    }),
  "the platform's functions by HTTP, with a key": () =>
    atGateway("/v1/hms.sys.deployment/ListServices", { key: remembered }),
  "commands that read services": () =>
    called(() => createClient(deployment.DeploymentService, operator).listServices({})),
  "`hms-sys status SERVICE`": () =>
    called(() => createClient(deployment.DeploymentService, operator).getService({ service: "echo-svc" })),
  "commands that change policies": () =>
    called(() => createClient(policy.PolicyService, operator).putPolicy({ policy: rule() })),
  "commands that change accounts": () =>
    called(() => createClient(identityUsers.UserService, operator).createUser({ login: `u${counter++}` })),
  "commands that start and list runs": () =>
    called(async () => {
      const runs = createClient(automationRuns.RunService, operator);
      const uses = "call/hms.sys.deployment.v1.DeploymentService/ListServices";
      await runs.startRun({ graph: { nodes: { look: { uses } } }, idempotencyKey: `k${counter++}` });
      await runs.listRuns({});
    }),
  "commands that read the audit log": () => called(() => createClient(audit.AuditService, operator).searchEvents({})),
};

/** Every probe's end, and how long it took; the gateway has noticed by then what it has to. */
async function endsOf(names: readonly string[]): Promise<{ ends: Record<string, string>; longestMs: number }> {
  const began = performance.now();
  const times: number[] = [];
  const ends = await Promise.all(
    names.map(async (name) => {
      const probe = probes[name] as () => Promise<string>;
      const hung = new Promise<string>((resolve) => setTimeout(resolve, LONGEST_MS + 5000, "hangs").unref());
      const end = await Promise.race([probe().catch((error) => `threw ${error}`), hung]);
      times.push(performance.now() - began);
      return [name, end] as const;
    }),
  );
  return { ends: Object.fromEntries(ends), longestMs: Math.max(...times) };
}

/** What is refused only once it was noticed that nothing is heard of what was taken back. */
const LATE: Readonly<Record<string, string>> = {
  server: "remembered callers, changing something",
  accounts: "the platform's functions by HTTP, with a key",
};

/** How often the gateway has asked the server who somebody is. */
async function askedAtGateway(): Promise<string | undefined> {
  const page = await (await fetch(`http://127.0.0.1:${platform.network.metricsPort}/metrics`)).text();
  return /hms_gateway_callers_total\{result="asked"\} (\d+)/.exec(page)?.[1];
}

/** Takes a part away, and answers with what brings it back. */
interface Way {
  readonly away: () => Promise<() => Promise<void>>;
  readonly isAgentHere: boolean;
}
type Ways = Readonly<Record<string, Way>>;

const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);

/** Takes a process away: it does not react, or it is gone and the agent, which would start it again, does not react. */
const waysOf = (component: string): Ways => ({
  "does not react": {
    isAgentHere: true,
    away: async () => {
      const pid = await platform.pidOf(component);
      const all = component === "postgres" ? [pid, ...childrenOf(pid)] : [pid];
      for (const each of all) process.kill(each, "SIGSTOP");
      return async () => {
        for (const each of all) process.kill(each, "SIGCONT");
      };
    },
  },
  "was killed": {
    isAgentHere: false,
    away: async () => {
      const [pid, agent] = [await platform.pidOf(component), await platform.pidOf("agent")];
      process.kill(agent, "SIGSTOP");
      process.kill(pid, "SIGKILL");
      return async () => void process.kill(agent, "SIGCONT");
    },
  },
});

const accountsWays: Ways = {
  "has no database": {
    isAgentHere: true,
    away: async () => {
      const source = connectionSource(paths(), undefined);
      await using admin = await openAdmin(source);
      await admin.query("alter role hms_identity connection limit 0");
      await admin.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'hms_identity'");
      return async () => {
        await using again = await openAdmin(source);
        await again.query("alter role hms_identity connection limit -1");
      };
    },
  },
};

const parts: Readonly<Record<string, Ways>> = {
  PostgreSQL: waysOf("postgres"),
  server: waysOf("server"),
  registry: waysOf("registry"),
  communication: waysOf("communication"),
  accounts: accountsWays,
};
const cases = Object.entries(parts).flatMap(([part, ways]) =>
  Object.entries(ways).map(([way, how]) => ({ part, way, how })),
);

test("the table knows every part, and each of its lines is tried", () => {
  expect(table.columns).toEqual(Object.keys(parts));
  expect(Object.keys(table.rows).sort()).toEqual([...Object.keys(probes), "`hms-sys status`", DOCTOR].sort());
});

describe("goes on, or is refused as the table in the guide says, while", () => {
  test.each(cases)(
    "the part $part $way",
    async ({ part, how: { away, isAgentHere } }) => {
      const names = Object.keys(probes);
      // Everybody is known, has tickets and is connected before.
      remembered = keys.pop() ?? "";
      let before: object = {};
      const isWhole = async () => {
        const { ends } = await endsOf(names);
        before = ends;
        return Object.values(ends).every((end) => end === "goes on");
      };
      await waitFor(isWhole, { deadlineMs: 60_000, describe: () => `everything to go on: ${JSON.stringify(before)}` });
      // The account that was just made is told to the gateway within a second, which then forgets everybody once more.
      const wholeAt = performance.now();
      const isRemembered = async () => {
        const asked = await askedAtGateway();
        await probes["remembered callers at the gateway, reading"]?.();
        return performance.now() - wholeAt > 1500 && (await askedAtGateway()) === asked;
      };
      await waitFor(isRemembered, { describe: () => "the gateway to remember its caller" });
      // Somebody else each time, whose ticket is new: an old one may end before it is shown.
      caller = stack.use(new Client("demo.shop", { ...registryOf(), token: keys.pop() ?? "" }));
      await caller.call("GetPrice", {});
      const back = await away();
      try {
        // What was heard of revocations holds for some seconds, at the gateway and in the server.
        const late = LATE[part];
        const hasNoticed = async () => late === undefined || (await probes[late]?.()) !== "goes on";
        await waitFor(hasNoticed, { deadlineMs: 20_000, describe: () => `"${late}" to be refused` });
        const { ends, longestMs } = await endsOf(names);
        const expected = Object.fromEntries(names.map((name) => [name, table.rows[name]?.[part]]));
        expect(ends).toEqual(expected);
        expect(longestMs).toBeLessThan(LONGEST_MS);
        if (isAgentHere) {
          expect((await platform.cli("status")).code).toBe(0);
          const { code, stdout } = await platform.cli("doctor");
          const named = table.rows[DOCTOR]?.[part]?.replaceAll("`", "");
          expect(code, stdout).not.toBe(0);
          expect(stdout).toMatch(new RegExp(`^✗ ${named}: `, "m"));
        }
      } finally {
        await back();
      }
    },
    180_000,
  );
});
