import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { expositionProblems, waitFor } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { spawnDataPlane, startDataPlane } from "./support/data-plane-process.ts";
import { type Installation, openInstallation } from "./support/installation.ts";
import { snapshotOf } from "./support/snapshots.ts";
import { startUpstream } from "./support/upstream.ts";

const hasPromtool = spawnSync("promtool", ["--version"]).error === undefined;
const isRoot = process.getuid?.() === 0;
const nobody = { uid: 65_534, gid: 65_534 };
let installation: Installation;
let stack: AsyncDisposableStack;

beforeEach(async () => {
  stack = new AsyncDisposableStack();
  installation = stack.use(await openInstallation());
});
afterEach(() => stack.disposeAsync());

async function take(port: number, host = "127.0.0.1"): Promise<void> {
  const server = createServer().listen(port, host);
  await once(server, "listening");
  stack.defer(() => void server.close());
}
const lines = (said: string) =>
  said
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);

test("the gateway's port is taken: it ends with 1 and says who has it and what to do", async () => {
  const { gatewayPort } = installation.network;
  await take(gatewayPort);
  const plane = stack.use(spawnDataPlane(installation));
  expect(await plane.ended).toBe(1);
  expect(lines(plane.said).at(-1)).toMatchObject({
    level: "error",
    message: `The gateway cannot listen: 127.0.0.1:${gatewayPort} (tcp) is taken by node (pid ${process.pid}). Stop it, or choose another port: hms-sys up --port ${gatewayPort + 80}`,
    time: expect.stringMatching(/^\d{4}-/),
  });
});

test("another port is taken: everything else goes on, and it says which and why", async () => {
  const { proxyPort, gatewayPort } = installation.network;
  await take(proxyPort);
  const plane = stack.use(await startDataPlane(installation));
  expect((await fetch(`http://127.0.0.1:${gatewayPort}/`)).status).toBe(404);
  const health = await plane.health();
  expect(health.status).toBe("degraded");
  expect(health.problems.join()).toContain(`the mesh proxy cannot listen: 127.0.0.1:${proxyPort} (tcp) is taken by`);
});

test.each([
  ["is not JSON", "{", "network.json cannot be read"],
  ["has impossible values", '{"gatewayPort":0,"proxyPort":70000,"metricsPort":"x","vipPrefix":"10.0"}', "vipPrefix"],
])("a network.json that %s: it ends with 1 and says what is wrong", async (_, text, message) => {
  writeFileSync(`${installation.paths.data}/network.json`, text);
  const plane = stack.use(spawnDataPlane(installation));
  expect(await plane.ended).toBe(1);
  expect(plane.said).toContain(message);
});

test("a parent that dies before it has noted the process takes it along", async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const main = new URL("../src/main.ts", import.meta.url).pathname;
  const parent = spawn(
    process.execPath,
    [
      "-e",
      `const c = require("child_process").spawn(process.execPath, [${JSON.stringify(main)}], { stdio: ["ignore", "ignore", "ignore", "ipc"] });
       c.on("message", (m) => { if (m.kind === "hello") c.send({ kind: "start" }); if (m.kind === "ready") console.log(c.pid); })`,
    ],
    { env: installation.env, stdio: ["ignore", "pipe", "ignore"] },
  );
  parent.stdout.on("data", (text) => resolve(Number(text)));
  const pid = await promise;
  parent.kill("SIGKILL");
  const isGone = () => {
    try {
      process.kill(pid, 0);
      return false;
    } catch {
      return true;
    }
  };
  await waitFor(isGone, { describe: "the data plane to end with its parent" });
});

test.skipIf(!hasPromtool)("promtool, where it is installed, has nothing to say against the metrics", async () => {
  installation.store.save(snapshotOf(3, [{ name: "svc", vip: installation.vip(1), upstreams: [1] }]));
  stack.use(await startDataPlane(installation));
  expect((await fetch(`http://127.0.0.1:${installation.network.gatewayPort}/nowhere`)).status).toBe(404);
  const page = await (await fetch(`http://127.0.0.1:${installation.network.metricsPort}/metrics`)).text();
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], { input: page, encoding: "utf8" });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
});

test("metrics, health and snapshot answer this machine, and no page whose name was made to lead here", async () => {
  installation.store.save(snapshotOf(3, [{ name: "svc", vip: installation.vip(1), upstreams: [1] }]));
  stack.use(await startDataPlane(installation));
  const base = `http://127.0.0.1:${installation.network.metricsPort}`;
  const metrics = await (await fetch(`${base}/metrics`)).text();
  expect(metrics).toContain("hms_dataplane_snapshot_version 3\n");
  expect(await (await fetch(`${base}/snapshot`)).json()).toMatchObject({
    version: "3",
    services: [{ name: "svc", open: false, endpoints: [{ address: "127.0.0.1:1", state: "active", inFlight: 0 }] }],
  });
  expect(expositionProblems(metrics)).toEqual([]);
  const { request } = await import("node:http");
  const rebound = request({
    ...new URL(`${base}/snapshot`),
    port: installation.network.metricsPort,
    path: "/snapshot",
  });
  rebound.setHeader("host", "evil.example");
  rebound.end();
  const [answer] = await once(rebound, "response");
  expect(answer.statusCode).toBe(421);
});

describe.runIf(isRoot)("an ordinary user", () => {
  test("gets no name server, is told so, and finds services by the mesh proxy", async () => {
    await installation[Symbol.asyncDispose]();
    installation = stack.use(await openInstallation(nobody));
    const upstream = stack.use(await startUpstream("by proxy"));
    const vip = installation.vip(1);
    installation.store.save(
      snapshotOf(
        1,
        [{ name: "receipt-svc", vip, upstreams: [upstream.port] }],
        [{ name: "default", dnsAddress: installation.dns[0] }],
      ),
    );
    const plane = stack.use(await startDataPlane(installation, { as: nobody }));
    expect(await plane.health()).toMatchObject({
      status: "ok",
      names: { tier: "proxy", problem: expect.stringContaining("ports below 1024") },
    });
    const url = `http://127.0.0.1:${installation.network.proxyPort}`;
    const curl = spawn("curl", ["-sS", "--proxy", url, "http://receipt-svc.mesh/"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [body] = await once(curl.stdout, "data");
    expect(String(body)).toBe("by proxy");
  });
});
