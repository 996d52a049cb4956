import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { resolveInstance } from "@hms/config";
import { registry } from "@hms/contracts";
import { descriptorSetOf } from "@hms/descriptors";
import { createClient, HmsError } from "@hms/kernel";
import { echoContract, echoKernel, tempFolder, waitFor } from "@hms/testkit";
import { connectSocket, serveSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { type Platform, startPlatform } from "./platform.ts";

const root = resolve(import.meta.dirname, "../..");
const examples = ["examples/receipt/receipt.hms.yml", "examples/payment/payment.hms.yml"].map((file) =>
  resolve(root, file),
);

let platform: Platform;
let stack = new AsyncDisposableStack();
const paths = () => resolveInstance({ instance: platform.instance, data: platform.data });
const inConfig = (name: string) => join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance, name);

beforeAll(async () => {
  platform = await startPlatform({ args: ["--apart", "registry,deployment", "--deploy", examples.join(",")] });
}, 120_000);
afterAll(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

async function pay(): Promise<number> {
  const headers = { "content-type": "application/json" };
  const body = '{"email":"a@b.c","amount":12}';
  return (await fetch(platform.url("/pay"), { method: "POST", headers, body })).status;
}

function transportAs(token: string) {
  return stack.use(connectSocket({ path: paths().kernelSocket, token }));
}

describe("a platform whose registry and deployment run in processes of their own", () => {
  test("deploys and serves as ever, and names its processes", async () => {
    expect(await pay()).toBe(200);
    const { code, stdout } = await platform.cli("status");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^registry +running/m);
    expect(stdout).toMatch(/^deployment +running/m);
    expect((await platform.cli("doctor")).code).toBe(0);
    const { stdout: listed } = await platform.cli("ffi", "list");
    expect(listed).toMatch(/^hms\.sys\.deployment +v1 +1\/1/m);
  });

  test("records a call once, where it is served, as whoever has made it", async () => {
    const read = (spool: string) =>
      readdirSync(join(platform.data, "audit", spool))
        .map((file) => readFileSync(join(platform.data, "audit", spool, file), "utf8"))
        .join("")
        .split("\n")
        .filter((line) => line.includes("DeploymentService/Deploy"));
    const [first = "{}"] = read("deployment");
    expect(JSON.parse(first)).toMatchObject({ principal: "operator", outcome: "OK" });
    expect(read("server")).toEqual([]);
  });

  test("decides by a policy as soon as it is put, in the process that is called", async () => {
    const contract = echoContract();
    const socket = `${stack.use(tempFolder()).path}/echo.sock`;
    stack.use(await serveSocket(echoKernel(contract), { path: socket }));
    const operator = transportAs(readFileSync(inConfig("operator.token"), "utf8").trim());
    await createClient(registry.RegistryService, operator).register({
      serviceId: "hms.test",
      version: "v1",
      instanceId: "echo",
      address: `unix:${socket}`,
      fileDescriptorSet: descriptorSetOf([contract.file]),
    });
    const token = "a-token-of-anna";
    const key = {
      id: "anna",
      kind: "user",
      roles: ["tester"],
      token_sha256: createHash("sha256").update(token).digest("hex"),
    };
    writeFileSync(inConfig("ffi-keys.json"), JSON.stringify([key]), { mode: 0o600 });
    const anna = createClient(contract, transportAs(token));
    let last = "";
    const ends = async () => {
      last = await anna.read({ value: "x" }, { timeoutMs: 5000 }).then(
        () => "OK",
        (error) => HmsError.from(error).code,
      );
      return last;
    };
    const until = (code: string) =>
      waitFor(async () => (await ends()) === code, { describe: () => `calls to end ${code}, not ${last}` });
    await until("PERMISSION_DENIED");
    const rule = { policy_id: "testers", service: "hms.test", allowed_roles: ["tester"] };
    expect(await platform.cli("ffi", "policy", "--put", JSON.stringify(rule))).toMatchObject({ code: 0 });
    await until("OK");
    expect(await platform.cli("ffi", "policy", "--delete", "testers")).toMatchObject({ code: 0 });
    await until("PERMISSION_DENIED");
  });

  test.each(["registry", "deployment"])(
    "loses no request when its %s is killed, and deploys again",
    async (part) => {
      expect(await platform.cli("deploy", echoService(platform, { version: "before" }))).toMatchObject({ code: 0 });
      await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 100 });
      const answered = (count: number) => () => load.records.filter(({ status }) => status === 200).length > count;
      await waitFor(answered(50), { describe: "the load to run" });
      const pid = await platform.pidOf(part);
      process.kill(pid, "SIGKILL");
      const version = `after-${part}`;
        const deployed = await platform.cli("deploy", echoService(platform, { version }));
        expect(deployed, deployed.stderr).toMatchObject({ code: 0 });
      expect(await platform.pidOf(part)).not.toBe(pid);
      expect(await pay()).toBe(200);
      expect(failures(await load.stop())).toEqual([]);
      const echoed = (await (await fetch(platform.url("/echo-svc"))).json()) as { version: string };
      expect(echoed.version).toBe(version);
    },
    60_000,
  );

  test("keeps the parts' sockets and their key from a deployed service", async () => {
    const targets = { sockets: paths().parts, socket: `${paths().parts}/mesh.sock`, key: inConfig("part.key") };
    const before = `const fs = require("node:fs"), net = require("node:net");
const targets = ${JSON.stringify(targets)};
const ends = {};
for (const name of ["sockets", "key"]) {
  try { name === "key" ? fs.readFileSync(targets.key) : fs.readdirSync(targets.sockets); ends[name] = "OK"; }
  catch (error) { ends[name] = error.code; }
}
net.connect(targets.socket).on("connect", () => { ends.socket = "OK"; }).on("error", (error) => { ends.socket = error.code; });
http.createServer((request, response) => response.end(request.url === "/healthz" ? "ok" : JSON.stringify(ends)))
  .listen(Number(process.env.PORT), "127.0.0.1");
return;`;
    const nosy = echoService(platform, { name: "nosy-svc", version: "1", replicas: 1, before });
    expect(await platform.cli("deploy", nosy)).toMatchObject({ code: 0 });
    const ends = (await (await fetch(platform.url("/nosy-svc"))).json()) as Record<string, string>;
    expect(Object.keys(ends).sort()).toEqual(["key", "socket", "sockets"]);
    for (const end of Object.values(ends)) expect(["EACCES", "ENOENT", "EPERM"]).toContain(end);
  });

  test("is one process again when it is started so", async () => {
    expect(await platform.stop()).toBe(0);
    expect((await platform.cli("down")).code).toBe(0);
    const again = await platform.cli("up", "--detach", "--apart", "none");
    expect(again, again.stderr).toMatchObject({ code: 0 });
    expect((await platform.cli("status")).stdout).not.toMatch(/^registry /m);
    expect(await pay()).toBe(200);
  }, 90_000);
});
