import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, startPlatform } from "./platform.ts";

const root = resolve(import.meta.dirname, "../..");
const examples = ["examples/receipt/receipt.hms.yml", "examples/payment/payment.hms.yml"].map((file) =>
  resolve(root, file),
);
const nobody = { uid: 65_534, gid: 65_534 };
const firstPort = Number(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8"));

let platform: Platform;

// Only root can become somebody else; an ordinary user's own run of all other tests proves the same.
describe.skipIf(process.getuid?.() !== 0)("an ordinary user", () => {
  beforeAll(async () => {
    const home = mkdtempSync(join(tmpdir(), "hms-user-"));
    const env = { HOME: home, USER: "nobody", LOGNAME: "nobody" };
    platform = await startPlatform({ home, env, user: nobody, args: ["--deploy", examples.join(",")] });
  }, 120_000);
  afterAll(async () => {
    await platform?.[Symbol.asyncDispose]();
  }, 60_000);

  async function pay(): Promise<{ status: number; body: unknown }> {
    const response = await fetch(platform.url("/pay"), {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"email":"a@b.c","amount":12}',
    });
    return { status: response.status, body: await response.json() };
  }

  const inService = (...command: string[]) => platform.cli("run", "payment-svc", "--", ...command);

  test("pays through the gateway: one program finds the other by its mesh name", async () => {
    expect(await pay()).toEqual({ status: 200, body: { ok: true, ref: expect.stringMatching(/^R-\d+/) } });
  });

  test("is told the mesh tier, and by which command to raise it", async () => {
    const { code, stdout } = await platform.cli("doctor");
    if (firstPort > 53) expect(stdout).toContain(`→ sudo ${join(root, "hms-sys")} setup`);
    else expect(stdout).toContain("mesh tier: 1");
    expect(code).toBe(0);
  });

  test.runIf(firstPort > 53)("has proxy variables in every service while ports below 1024 are not theirs", async () => {
    const { stdout } = await inService("env");
    expect(stdout).toMatch(/^http_proxy=http:\/\/default@127\.0\.0\.1:\d+$/m);
  });

  test("runs nothing of the platform and no service as root", async () => {
    const { components } = await platform.json<{ components: { name: string; pid: string }[] }>("status");
    expect(components.length).toBeGreaterThanOrEqual(4);
    for (const { pid } of components) expect(ownerOf(pid)).toBe(nobody.uid);
    const { replicas } = await platform.json<{ replicas: { replica: { pid: string } }[] }>("status", "receipt-svc");
    for (const { replica } of replicas) expect(ownerOf(replica.pid)).toBe(nobody.uid);
  });

  test("has services that cannot read the operator's token", async () => {
    const { stdout } = await platform.cli("doctor");
    if (!stdout.includes("isolation: user namespace")) return;
    const token = join(platform.data, "..", "c", "hms-sys", platform.instance, "operator.token");
    expect(readFileSync(token, "utf8").length).toBeGreaterThan(20);
    expect((await inService("cat", token)).code).not.toBe(0);
  });

  test("finds everything as it was after a new start, and gets an answer from the first request on", async () => {
    expect(await platform.stop()).toBe(0);
    await platform.start();
    expect((await pay()).status).toBe(200);
  });
});

function ownerOf(pid: string): number {
  return Number(readFileSync(`/proc/${pid}/status`, "utf8").match(/^Uid:\s+(\d+)/m)?.[1]);
}
