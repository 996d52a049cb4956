import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { resolveInstance } from "@hms/config";
import { type ServedService, serve } from "@hms/ffi";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { hmsSys, type Platform, startPlatform } from "./platform.ts";
import { killAtOnce } from "./sudden-death.ts";

interface Shown {
  runId: string;
  state: string;
  nodes: { node: string; state: string; attempt: number; error?: { message: string } }[];
}

const stack = new AsyncDisposableStack();
let platform: Platform;
let shop: ServedService;
const began: string[] = [];
let gate = Promise.withResolvers<void>();

beforeAll(async () => {
  platform = stack.use(await startPlatform());
  const config = join(platform.env.XDG_CONFIG_HOME ?? "", "hms-sys", platform.instance);
  const paths = resolveInstance({ instance: platform.instance, data: platform.data });
  const handler = async ({ step }: { step?: string }) => {
    began.push(String(step));
    await gate.promise;
    return { step };
  };
  const schemas = { input: { type: "object" }, output: { type: "object" }, handler } as const;
  shop = stack.use(
    await serve({
      serviceId: "demo.shop",
      listen: `unix:${platform.data}/shop.sock`,
      registryUrl: `unix:${paths.kernelSocket}`,
      token: readFileSync(join(config, "operator.token"), "utf8").trim(),
      methods: { Pay: { ...schemas, idempotency: "none" }, Count: { ...schemas, idempotency: "idempotent" } },
    }),
  );
  await shop.registered;
}, 120_000);
afterAll(() => stack.disposeAsync(), 60_000);

/** A file of a run; whole graphs are JSON, which is YAML. */
function fileOf(name: string, nodes: object): string {
  const path = join(platform.data, "..", `${name}.yml`);
  writeFileSync(path, JSON.stringify({ labels: { name }, nodes }));
  return path;
}

const shown = (runId: string) => platform.json<Shown>("runs", "show", runId);
const stateOf = async (runId: string, name: string) =>
  (await shown(runId)).nodes.find(({ node }) => node === name)?.state;

/** A command that follows a run, and all it says. */
function following(...args: string[]) {
  const child = spawn(hmsSys, args, { env: platform.env, stdio: ["ignore", "pipe", "pipe"] });
  const command = { child, said: "", ended: new Promise<number | null>((done) => child.once("close", done)) };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (text) => {
      command.said += text;
    });
  }
  return command;
}

const call = (method: string, step: string, more: object = {}) => ({
  uses: `call/demo.shop.v1.ShopService/${method}`,
  with: { step },
  ...more,
});

describe("a server that is killed in the middle of a run", () => {
  test("goes on with it: what may be repeated is, what may not is asked about, and whoever follows sees the end", async () => {
    const file = fileOf("killed", {
      first: { uses: "call/hms.sys.deployment.v1.DeploymentService/ListServices" },
      count: call("Count", "count", { needs: ["first"] }),
      pay: call("Pay", "pay", { needs: ["first"] }),
      pause: { kind: "wait", needs: ["count", "pay"], timeout_ms: 500 },
      last: { needs: ["pause"], uses: "call/hms.sys.deployment.v1.DeploymentService/ListServices" },
    });
    const follower = following("runs", "start", file, "--wait");
    await waitFor(() => began.length === 2, { describe: () => `both calls under way: ${follower.said}` });
    await killAtOnce(await platform.pidOf("server"));
    const [listed] = await platform.json<Shown[]>("runs", "list", "--label", "name=killed");
    const { runId = "" } = listed ?? {};
    await waitFor(async () => (await stateOf(runId, "pay")) === "NODE_STATE_NEEDS_DECISION", {
      describe: "somebody to be asked about the payment",
    });
    await waitFor(() => began.filter((step) => step === "count").length === 2, {
      describe: "the count to be repeated",
    });
    expect(began.filter((step) => step === "pay")).toHaveLength(1);
    gate.resolve();
    expect(await platform.cli("runs", "approve", runId, "pay", "--with", '{"paid":true}')).toMatchObject({ code: 0 });
    expect({ code: await follower.ended, said: follower.said }).toMatchObject({
      code: 0,
      said: expect.stringMatching(/node\.lost pay.*node\.decided pay.*run\.succeeded.*✓ run .* succeeded/s),
    });
    expect(began.filter((step) => step === "pay")).toHaveLength(1);
    const { state, nodes } = await shown(runId);
    expect([state, ...new Set(nodes.map((node) => node.state))]).toEqual([
      "RUN_STATE_SUCCEEDED",
      "NODE_STATE_SUCCEEDED",
    ]);
  }, 90_000);

  test("and a run that fails ends its command with 4, and says which node and why", async () => {
    gate = Promise.withResolvers<void>();
    gate.resolve();
    const file = fileOf("failing", {
      bad: { uses: "call/hms.sys.deployment.v1.DeploymentService/GetService", with: { service: "nobody" } },
    });
    const { code, stdout, stderr } = await platform.cli("runs", "start", file, "--wait");
    expect({ code, stdout, stderr }).toMatchObject({
      code: 4,
      stdout: expect.stringMatching(/✗ run .* failed/),
      stderr: expect.stringMatching(/bad: .*nobody/),
    });
  }, 30_000);
});

describe("a deploy of several services", () => {
  test("ends as asked though the command and the server are killed: each is begun once, and taken back if one fails", async () => {
    const slow = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);";
    const base = { version: "1", replicas: 1, startTimeout: "10s" };
    const files = [
      echoService(platform, { ...base, name: "base-svc", before: slow }),
      echoService(platform, { ...base, name: "front-svc", before: "process.exit(3);", manifest: "needs: [base-svc]" }),
    ];
    const command = following("deploy", ...files, "--on-failure", "rollback-all");
    await waitFor(() => command.said.includes("Replica 1/1 started"), {
      describe: () => `base-svc to be under way: ${command.said}`,
    });
    command.child.kill("SIGKILL");
    await killAtOnce(await platform.pidOf("server"));
    const [listed] = await platform.json<Shown[]>("runs", "list", "--label", "kind=deploy");
    const { runId = "" } = listed ?? {};
    await waitFor(async () => (await shown(runId)).state === "RUN_STATE_FAILED", {
      describe: "the deploy to end",
      deadlineMs: 40_000,
    });
    const { nodes } = await shown(runId);
    expect(Object.fromEntries(nodes.map(({ node, state }) => [node, state]))).toEqual({
      "base-svc": "NODE_STATE_SUCCEEDED",
      "front-svc": "NODE_STATE_FAILED",
      settle: "NODE_STATE_SUCCEEDED",
      "undo_front-svc": "NODE_STATE_SKIPPED",
      "undo_base-svc": "NODE_STATE_SUCCEEDED",
    });
    const history = await platform.json<{ kind: string; state: string; runId: string }[]>("history", "base-svc");
    expect(history.map(({ kind, state, runId: of }) => [kind, state, of === runId])).toEqual([
      ["ROLLOUT_KIND_STOP", "ROLLOUT_STATE_SUCCEEDED", true],
      ["ROLLOUT_KIND_DEPLOY", "ROLLOUT_STATE_SUCCEEDED", true],
    ]);
    expect((await platform.cli("runs", "logs", runId, "--node", "base-svc")).stdout).toContain("deploy base-svc");
  }, 90_000);
});
