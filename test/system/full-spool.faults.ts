import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { resolveInstance } from "@hms/config";
import { deployment, mesh } from "@hms/contracts";
import { type Client, createClient, HmsError } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Platform, startPlatform } from "./platform.ts";

/** More changes than a spool of one MiB can hold. */
const MOST_CHANGES = 20_000;
const AT_ONCE = 50;

const stack = new AsyncDisposableStack();
let platform: Platform;
let traffic: Client<typeof mesh.MeshService>;
let services: Client<typeof deployment.DeploymentService>;

beforeAll(async () => {
  platform = stack.use(await startPlatform({ args: ["--apart", "communication"], env: { HMS_AUDIT_SPOOL_MIB: "1" } }));
  const config = join(platform.env.XDG_CONFIG_HOME ?? "", "hms-sys", platform.instance);
  const token = readFileSync(join(config, "operator.token"), "utf8").trim();
  const transport = stack.use(connectSocket({ path: resolveInstance(platform).kernelSocket, token }));
  traffic = createClient(mesh.MeshService, transport);
  services = createClient(deployment.DeploymentService, transport);
}, 240_000);
afterAll(() => stack.disposeAsync(), 60_000);

/** A change that changes nothing, and is recorded as every other; answers with why it was refused. */
const change = (): Promise<string> =>
  traffic.removeService({ environment: "default", name: "nobody" }, { timeoutMs: 20_000 }).then(
    () => "",
    (error: unknown) => {
      const { code, details } = HmsError.from(error);
      return `${code} ${details.reason}`;
    },
  );

async function changeUntilRefused(): Promise<string> {
  for (let made = 0; made < MOST_CHANGES; made += AT_ONCE) {
    const refused = (await Promise.all(Array.from({ length: AT_ONCE }, change))).find((why) => why !== "");
    if (refused !== undefined) return refused;
  }
  return "never";
}

const doctor = async () => (await platform.cli("doctor")).stdout;

test("a full spool, because nobody empties it, refuses changes and says so; reads and traffic go on; emptied, all is well", async () => {
  expect(await change()).toBe("");
  const pid = await platform.pidOf("communication");
  process.kill(pid, "SIGSTOP");
  stack.defer(() => {
    try {
      process.kill(pid, "SIGCONT");
    } catch {
      // It has ended already.
    }
  });
  expect(await changeUntilRefused()).toBe("UNAVAILABLE AUDIT_SPOOL_FULL");
  expect(await change()).toBe("UNAVAILABLE AUDIT_SPOOL_FULL");
  // What reads is answered, and so is the gateway.
  expect((await services.listServices({ pageSize: 1 })).services).toEqual([]);
  expect((await traffic.getSnapshot({})).version).toBeGreaterThan(0n);
  expect((await fetch(platform.url("/nowhere"))).status).toBe(404);
  const byCommand = await platform.cli("users", "create", "ben");
  expect(byCommand.code).toBe(1);
  expect(byCommand.stderr).toMatch(/audit/i);
  expect(await doctor()).toMatch(
    /✗ audit spools: the spool of server holds 1\.\d MiB of 1\.0 MiB: it is full, what would/,
  );
  expect(readFileSync(join(platform.data, "logs/server.log"), "utf8")).toContain(
    "the audit spool is full: nothing may",
  );
  process.kill(pid, "SIGCONT");
  await waitFor(async () => (await change()) === "", { describe: "changes to be taken again" });
  await waitFor(async () => !(await doctor()).includes("audit spools"), { describe: "the doctor to find nothing" });
  const verified = await platform.cli("audit", "verify");
  expect(verified.code, verified.stdout + verified.stderr).toBe(0);
  // The spool gives back what was taken.
  const spool = join(resolveInstance(platform).audit, "server");
  expect(readdirSync(spool).filter((name) => name.endsWith(".spool")).length).toBeLessThan(4);
}, 240_000);
