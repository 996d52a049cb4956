import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { resolveInstance } from "@hms/config";
import { integrationOperations, registry } from "@hms/contracts";
import { descriptorSetOf } from "@hms/descriptors";
import { createClient, HmsError } from "@hms/kernel";
import { forwardedServices, PartTickets, partContracts, partKeyOf, partSpiffeId } from "@hms/parts";
import {
  casesOf,
  echoContract,
  echoKernel,
  expositionProblems,
  freePort,
  tempFolder,
  testAuthority,
  waitFor,
} from "@hms/testkit";
import { connectFrames, connectSocket, serveSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { expectShutOut, openDirectCaller } from "./direct-caller.ts";
import { echoService } from "./echo-service.ts";
import { failures, startLoad } from "./open-loop-load.ts";
import { hmsSys, type Platform, startPlatform } from "./platform.ts";

const root = resolve(import.meta.dirname, "../..");
const examples = ["examples/receipt/receipt.hms.yml", "examples/payment/payment.hms.yml"].map((file) =>
  resolve(root, file),
);

let platform: Platform;
let stack = new AsyncDisposableStack();
const paths = () => resolveInstance({ instance: platform.instance, data: platform.data });
const inConfig = (name: string) => join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance, name);

beforeAll(async () => {
  platform = await startPlatform({
    args: ["--apart", "registry,deployment,communication", "--deploy", examples.join(",")],
  });
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

  test("records a call once, where it is served, as whoever has made it, though the log is kept by another process", async () => {
    const deploys = () =>
      platform.json<{ shard: string; actor: object }[]>("audit", "search", "--method", "DeploymentService/Deploy");
    await waitFor(async () => (await deploys()).length >= 2, { describe: "both deploys in the audit log" });
    for (const { shard, actor } of await deploys()) {
      expect({ shard, actor }).toMatchObject({ shard: "deployment", actor: { kind: "operator", id: "operator" } });
    }
  });

  test("answers at one place what every process has counted of calls, each by its name", async () => {
    const token = readFileSync(inConfig("operator.token"), "utf8").trim();
    const response = await fetch(platform.url("/metrics"), { headers: { authorization: `Bearer ${token}` } });
    const page = await response.text();
    expect(expositionProblems(page)).toEqual([]);
    expect(page).toContain('hms_ffi_part_up{part="registry"} 1\nhms_ffi_part_up{part="deployment"} 1\n');
    const listed = 'service="hms.sys.deployment.v1.DeploymentService",method="ListServices",code="OK"} ';
    expect(page).toContain(`hms_ffi_calls_total{${listed}`);
    expect(page).toContain(`hms_ffi_calls_total{part="deployment",${listed}`);
  });

  test("lets accounts do there what their roles and their keys' scopes say", async () => {
    await platform.json("users", "create", "ben", "--roles", "operator");
    const key = async (...more: string[]) =>
      (await platform.json<{ secret: string }>("keys", "create", "k", "--user", "ben", ...more)).secret;
    const [whole, narrow] = [await key(), await key("--scopes", "services:logs")];
    const list = async (token: string) => {
      const headers = { authorization: `Bearer ${token}` };
      return (await fetch(platform.url("/v1/hms.sys.deployment/ListServices"), { headers })).status;
    };
    expect([await list(whole), await list(narrow)]).toEqual([200, 403]);
    await platform.json("roles", "unassign", "ben", "operator");
    expect(await list(whole)).toBe(403);
  });

  test("lets nobody go on who is deactivated: tickets and streams of direct calls end within a second", async () => {
    const operatorToken = readFileSync(inConfig("operator.token"), "utf8").trim();
    const options = { socket: paths().kernelSocket, operatorToken, login: "dan", role: "operator" };
    await using caller = await openDirectCaller(platform, options);
    await expectShutOut(platform, "dan", caller);
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

  test.each(casesOf(["registry", "deployment", "communication"], (part) => part === "deployment"))(
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

  test("has a part called over TLS, by parts of the installation only", async () => {
    const authority = testAuthority();
    const server = authority.issue(`URI:${partSpiffeId(platform.instance, "integration")}`);
    const files = stack.use(tempFolder({ "c.pem": server.cert, "k.pem": server.key, "ca.pem": authority.ca }));
    const address = `tls://127.0.0.1:${await freePort()}`;
    const [cert, key, ca] = ["c.pem", "k.pem", "ca.pem"].map((file) => join(files.path, file)) as [
      string,
      string,
      string,
    ];
    const options = ["--listen", address, "--tls-cert", cert, "--tls-key", key, "--tls-ca", ca];
    const served = spawn(hmsSys, ["serve", "--only", "integration", ...options], {
      env: platform.env,
      stdio: "ignore",
    });
    const ended = once(served, "exit");
    const partKey = (await platform.cli("part-key", "show")).stdout.trim();
    const callAs = (id: string) => {
      const own = authority.issue(`URI:${id}`);
      const expectedId = partSpiffeId(platform.instance, "integration");
      const tls = { key: () => own.key, cert: () => own.cert, ca: () => authority.ca, expectedId };
      const transport = stack.use(connectFrames({ address, tls, waitForReadyMs: 20_000 }));
      const tickets = new PartTickets(partKeyOf(partKey), "integration");
      const kernel = echoKernel(echoContract());
      for (const each of forwardedServices(partContracts.integration, { transport, tickets })) kernel.register(each);
      const client = kernel.client(integrationOperations.OperationService, { kind: "operator", id: "operator" });
      return client.listOperations({}, { timeoutMs: 30_000 }).then(
        () => "OK",
        (error) => HmsError.from(error).code,
      );
    };
    expect(await callAs(partSpiffeId(platform.instance, "server"))).toBe("OK");
    expect(await callAs(`spiffe://${platform.instance}/env/default/svc/a`)).toBe("UNAUTHENTICATED");
    served.kill("SIGTERM");
    expect((await ended)[0]).toBe(0);
    const wrong = await platform.cli("serve", "--only", "mesh,registy", "--listen", "tls://x:1");
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringMatching(/"registy"[\s\S]*--tls-cert/) });
  }, 60_000);

  test("is one process again when it is taken over so, without losing a request", async () => {
    await using load = startLoad({ url: platform.url("/echo-svc"), perSecond: 50 });
    const part = await platform.pidOf("registry");
    const again = await platform.cli("up", "--take-over", "--detach", "--apart", "none");
    expect(again, again.stderr).toMatchObject({ code: 0 });
    expect((await platform.cli("status")).stdout).not.toMatch(/^(registry|deployment|communication) /m);
    expect(() => process.kill(part, 0)).toThrow("ESRCH");
    expect(await platform.cli("deploy", echoService(platform, { version: "together" }))).toMatchObject({ code: 0 });
    expect(failures(await load.stop())).toEqual([]);
  }, 90_000);
});
