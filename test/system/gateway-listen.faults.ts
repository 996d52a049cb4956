import { once } from "node:events";
import { request } from "node:http";
import { createServer } from "node:net";
import { freePort, waitFor } from "@hms/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Platform, startPlatform } from "./platform.ts";

/** Loopback too, and still none of the addresses that the gateway has by itself. */
const OTHER = "127.0.0.2";
const stack = new AsyncDisposableStack();
let platform: Platform;
let port = 0;

beforeAll(async () => {
  port = await freePort();
  platform = stack.use(await startPlatform({ args: ["--http-listen", `${OTHER}:${port}`] }));
}, 120_000);
afterAll(() => stack.disposeAsync(), 60_000);

/** What is answered there; no service has a route, so it is the gateway itself that says so. */
async function statusAt(at: number): Promise<number | undefined> {
  const asking = request({ host: OTHER, port: at, agent: false, timeout: 30_000 });
  const [response] = await once(asking.end(), "response");
  response.resume();
  return response.statusCode;
}
const answers = (at: number) => statusAt(at).then(Boolean, () => false);

test("up says what other machines reach, and so do status and doctor", async () => {
  expect(await statusAt(port)).toBe(404);
  // An address of loopback is none of other machines.
  expect(platform.said).toContain("Other machines reach nothing.");
  expect((await platform.cli("status")).stdout).toContain("Other machines reach nothing.");
  expect((await platform.cli("doctor")).stdout).toContain("reachable: Other machines reach nothing.");
});

test("nobody is refused while agent and data plane are killed at one moment", async () => {
  const pids = await Promise.all(["agent", "dataplane"].map((component) => platform.pidOf(component)));
  expect(pids).not.toContain(0);
  for (const pid of pids) process.kill(pid, "SIGKILL");
  const asked = await Promise.all(Array.from({ length: 10 }, () => statusAt(port)));
  expect(asked).toEqual(Array(10).fill(404));
}, 60_000);

test("another up changes it while everything runs, and refuses what cannot be had with what, why and what to do", async () => {
  const [other, taken] = await Promise.all([freePort(), freePort()]);
  const holder = createServer().listen(taken, OTHER);
  stack.defer(() => void holder.close());
  await once(holder, "listening");
  const up = (...options: string[]) => platform.cli("up", "--take-over", "--detach", ...options);
  const wrong = await up("--http-listen", "shop.test:80,0.0.0.0");
  expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('not "shop.test:80", "0.0.0.0".') });
  const missing = await up("--http-listen", `${OTHER}:${taken},192.0.2.77:8080`);
  expect(missing.code).toBe(1);
  expect(missing.stderr).toContain(`${OTHER}:${taken} (tcp) is taken by`);
  expect(missing.stderr).toContain("This machine has no address 192.0.2.77.");
  const both = await up("--http-listen", `${OTHER}:${other}`, "--https-listen", `${OTHER}:${other}`);
  expect(both.stderr).toContain("with and without TLS");
  // Nothing was ended for any of them.
  expect(await answers(port)).toBe(true);
  const changed = await up("--http-listen", `${OTHER}:${other}`);
  expect(changed.code, changed.stderr).toBe(0);
  await waitFor(() => answers(other), { describe: "the other address to be listened at" });
  await waitFor(async () => !(await answers(port)), { describe: "the first one to be given up" });
}, 120_000);

test("routes that do not say auth are told of, and ask for it where the installation says so", async () => {
  const manifest = "name: shop\nrun: {command: node index.js}\nroutes: [{path: /shop}, {path: /open, auth: public}]\n";
  const program = `require("node:http").createServer((_, r) => r.end("served")).listen(process.env.PORT, "127.0.0.1")`;
  const path = platform.service("shop", manifest, { "index.js": program });
  const told = "Everybody may call /shop: the route does not say auth.";
  expect((await platform.cli("plan", path)).stdout).toContain(told);
  const deployed = await platform.cli("deploy", path);
  expect(deployed.code, deployed.stderr).toBe(0);
  expect(deployed.stdout + deployed.stderr).toContain(told);
  expect((await platform.cli("doctor")).stdout).toContain("everybody may call default/shop /open, default/shop /shop;");
  expect((await fetch(platform.url("/shop"))).status).toBe(200);
  expect((await platform.cli("up", "--take-over", "--detach", "--routes-default-auth", "required")).code).toBe(0);
  expect((await platform.cli("plan", path)).stdout).not.toContain("Everybody may call");
  const again = await platform.cli("deploy", path);
  expect(again.code, again.stderr).toBe(0);
  expect((await fetch(platform.url("/shop"))).status).toBe(401);
  expect((await fetch(platform.url("/open"))).status).toBe(200);
  expect((await platform.cli("doctor")).stdout).toContain(
    "everybody may call default/shop /open; manifests that do not",
  );
}, 120_000);
