import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, runCommand, startPlatform } from "./platform.ts";

const root = resolve(import.meta.dirname, "../..");
const examples = ["examples/receipt/receipt.hms.yml", "examples/payment/payment.hms.yml"].map((file) =>
  resolve(root, file),
);

let platform: Platform;
beforeAll(async () => {
  platform = await startPlatform({ args: ["--deploy", examples.join(",")] });
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

async function pay(): Promise<{ ok: boolean; ref: string }> {
  const response = await fetch(platform.url("/pay"), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"email":"a@b.c","amount":12}',
  });
  expect(response.status).toBe(200);
  return (await response.json()) as { ok: boolean; ref: string };
}

describe("a newcomer", () => {
  test("pays through the gateway: Python calls Node by its mesh name", async () => {
    expect(await pay()).toEqual({ ok: true, ref: expect.stringMatching(/^R-\d+/) });
  });

  test("sees both services healthy", async () => {
    const services = await platform.json<{ name: string; health: string; replicasReady: number }[]>("services");
    expect(services).toMatchObject([
      { name: "payment-svc", health: "SERVICE_HEALTH_HEALTHY" },
      { name: "receipt-svc", health: "SERVICE_HEALTH_HEALTHY", replicasReady: 2 },
    ]);
  });

  test("deploys with one command that ends with the service's URL on stdout", async () => {
    const { code, stdout, stderr } = await platform.cli("deploy", examples[0] ?? "");
    expect(stderr).toContain("✓");
    expect(stdout).toBe("Service URL: http://receipt-svc.mesh/receipt\n");
    expect(code).toBe(0);
  });

  test("reads what a service wrote", async () => {
    await pay();
    const { stdout } = await platform.cli("logs", "receipt-svc", "--tail", "50", "--grep", "a@b.c");
    expect(stdout).toContain("Sent receipt to a@b.c");
  });

  test("runs one command in a service's surroundings, mesh names included", async () => {
    const script = "import urllib.request as u; print(u.urlopen('http://receipt-svc.mesh/healthz').status)";
    const { code, stdout } = await platform.cli("run", "payment-svc", "--", "python3", "-c", script);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "200\n" });
  });

  test("gets the exit code of the command", async () => {
    expect((await platform.cli("run", "payment-svc", "--", "sh", "-c", "exit 7")).code).toBe(7);
  });

  test("sees a plan with its verdict on downtime", async () => {
    const { code, stdout } = await platform.cli("plan", examples[0] ?? "");
    expect(stdout).toContain("nothing in the program's files changes");
    expect(stdout).toContain("Zero downtime: yes");
    expect(code).toBe(0);
  });

  test("finds no problem with the doctor, and the mesh tier named", async () => {
    const { code, stdout } = await platform.cli("doctor");
    expect(stdout).toMatch(/mesh tier: [12]/);
    expect(code).toBe(0);
  });

  test("finds everything as it was after Ctrl-C and a new start", async () => {
    const before = await platform.json<{ name: string; revision: string }[]>("services");
    expect(await platform.stop()).toBe(0);
    expect(await listening(platform)).toBe("");
    await platform.start();
    const after = await platform.json<{ name: string; revision: string }[]>("services");
    expect(after.map(({ name, revision }) => ({ name, revision }))).toEqual(
      before.map(({ name, revision }) => ({ name, revision })),
    );
    expect(await pay()).toMatchObject({ ok: true });
  });

  test("is told what to do when the name of a service is wrong", async () => {
    const { code, stderr } = await platform.cli("status", "recept-svc");
    expect(stderr).toContain("receipt-svc");
    expect(code).toBe(1);
  });

  test("gets JSON errors under -o json", async () => {
    const { stdout } = await platform.cli("status", "nobody", "-o", "json");
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: "NOT_FOUND" } });
  });
});

/** Processes that still carry the installation's data directory. */
async function listening({ data }: Platform): Promise<string> {
  const { stdout } = await runCommand(["sh", "-c", `pgrep -af ${data} | grep -v pgrep || true`], process.env);
  return stdout;
}
