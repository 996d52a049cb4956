import { readdirSync, readFileSync, statSync } from "node:fs";
import { get } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import { resolveInstance } from "@hms/config";
import { deployment } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { echoService } from "./echo-service.ts";
import { type Platform, runCommand, startPlatform } from "./platform.ts";

let platform: Platform;
let config = "";
beforeAll(async () => {
  platform = await startPlatform();
  config = join(platform.data, "..", "c", "hms-sys", platform.instance);
  for (const [version, ...more] of [["default"], ["staging", "-e", "staging"]]) {
    const file = echoService(platform, { version: version ?? "", replicas: 1 });
    expect(await platform.cli("deploy", file, ...more)).toMatchObject({ code: 0 });
  }
}, 120_000);
afterAll(async () => {
  await platform?.[Symbol.asyncDispose]();
}, 60_000);

const run = (...command: string[]) => platform.cli("run", "echo-svc", "--", ...command);
const bits = (path: string) => (statSync(path).mode & 0o777).toString(8);

/** Every file below a folder. */
const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));

interface AuditLine {
  actor: { id: string };
  outcome: string;
  reason: string;
}
const audited = (...filters: string[]) => platform.json<AuditLine[]>("audit", "search", ...filters);

describe("the gateway", () => {
  test.each([
    "/hms.sys.deployment.v1.DeploymentService/ListServices",
    "/hms.sys.agent.v1.AgentService/GetStatus",
    "/hms.ffi.v1.RegistryService/List",
    "/hms.sys.mesh.v1.MeshService/GetSnapshot",
    "/metrics",
  ])("answers nothing at %s", async (path) => {
    for (const headers of [
      {},
      { "content-type": "application/json" },
      { "content-type": "application/grpc" },
    ] as Record<string, string>[]) {
      const response = await fetch(platform.url(path), { method: "POST", body: "{}", headers });
      expect(response.status).toBe(404);
      expect(await response.text()).not.toMatch(/echo-svc|replica/);
    }
  });
});

describe("the platform's functions by HTTP", () => {
  const token = () => readFileSync(join(config, "operator.token"), "utf8").trim();
  const call = (path: string, headers: Record<string, string>, body = "{}") =>
    fetch(platform.url(path), { method: "POST", body, headers: { "content-type": "application/json", ...headers } });

  test("answer at the gateway to whoever shows the operator's token", async () => {
    const response = await call("/v1/hms.sys.deployment/ListServices", { authorization: `Bearer ${token()}` });
    expect(response.status).toBe(200);
    const { services } = (await response.json()) as { services: { name: string }[] };
    expect(new Set(services.map(({ name }) => name))).toEqual(new Set(["echo-svc"]));
  });

  test("answer at the gateway under its own names only, whatever token is shown: a name that was rebound is refused", async () => {
    const url = platform.url("/v1/hms.sys.deployment/ListServices");
    const ask = async (host: string) => {
      const headers = [`authorization: Bearer ${token()}`, "content-type: application/json", `host: ${host}`];
      const given = headers.flatMap((header) => ["-H", header]);
      const command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", ...given, "-d", "{}", url];
      return (await runCommand(command, process.env, {})).stdout;
    };
    const { port } = new URL(url);
    expect(await Promise.all([`localhost:${port}`, "evil.example", `evil.example:${port}`].map(ask))).toEqual([
      "200",
      "421",
      "421",
    ]);
  });

  test.each(["edge.sock", "kernel.sock"])("answer on the machine at %s", async (socket) => {
    const path = join(platform.data, "run", socket);
    const headers = [`authorization: Bearer ${token()}`, "content-type: application/json"];
    const url = "http://localhost/v1/hms.sys.deployment/ListServices";
    const given = headers.flatMap((header) => ["-H", header]);
    const command = ["curl", "-sS", "--unix-socket", path, ...given, "-d", "{}", url];
    const { code, stdout } = await runCommand(command, process.env, {});
    expect({ code, services: JSON.parse(stdout).services }).toMatchObject({ code: 0, services: [{}, {}] });
  });

  test("answer Connect beside REST, and gRPC's HTTP/2 on the machine", async () => {
    const path = "/hms.sys.deployment.v1.DeploymentService/ListServices";
    const response = await call(path, { authorization: `Bearer ${token()}`, "connect-protocol-version": "1" });
    expect([response.status, await response.json()]).toMatchObject([200, { services: [{}, {}] }]);
    const socket = join(platform.data, "run", "kernel.sock");
    const headers = ["-H", `authorization: Bearer ${token()}`, "-H", "content-type: application/json"];
    const url = "http://localhost/v1/hms.sys.deployment/ListServices";
    const options = ["-sS", "--http2-prior-knowledge", "-w", "%{http_version}", "--unix-socket", socket];
    const { stdout } = await runCommand(["curl", ...options, ...headers, "-d", "{}", url], process.env, {});
    expect(stdout).toMatch(/^\{"services":.*\}2$/s);
  });

  test("answer gRPC-Web at the gateway, with the status in the body", async () => {
    const path = "/hms.sys.deployment.v1.DeploymentService/ListServices";
    const empty = Buffer.alloc(5);
    const ask = (type: string, body: Buffer | string, authorization = `Bearer ${token()}`) =>
      fetch(platform.url(path), { method: "POST", headers: { "content-type": type, authorization }, body });
    const binary = await ask("application/grpc-web+proto", empty);
    const answer = Buffer.from(await binary.arrayBuffer());
    const end = 5 + answer.readUInt32BE(1);
    expect([binary.status, answer[0], answer[end]]).toEqual([200, 0, 0x80]);
    expect(fromBinary(deployment.ListServicesResponseSchema, answer.subarray(5, end)).services).toHaveLength(2);
    expect(answer.subarray(end + 5).toString()).toMatch(/grpc-status: ?0/i);
    const refused = await ask("application/grpc-web+proto", empty, `Bearer ${"f".repeat(64)}`);
    const trailers = refused.headers.get("grpc-status") ?? Buffer.from(await refused.arrayBuffer()).toString();
    expect(trailers).toMatch(/^16$|grpc-status: ?16/);
  });

  test("refuse a wrong token and a data plane's, and a page of another origin", async () => {
    const path = "/v1/hms.sys.deployment/ListServices";
    expect((await call(path, { authorization: `Bearer ${"f".repeat(64)}` })).status).toBe(401);
    const dataplane = readFileSync(join(config, "dataplane.token"), "utf8").trim();
    expect((await call(path, { authorization: `Bearer ${dataplane}` })).status).toBe(403);
    const origin = "http://evil.example";
    expect((await call(path, { authorization: `Bearer ${token()}`, origin })).status).toBe(403);
  });

  test("stream, and end with the error they end with", async () => {
    const authorization = `Bearer ${token()}`;
    const body = JSON.stringify({ environment: "default" });
    const leaving = new AbortController();
    const response = await fetch(platform.url("/v1/hms.ffi/Watch"), {
      method: "POST",
      body,
      headers: { "content-type": "application/json", authorization },
      signal: leaving.signal,
    });
    const { value } = await (response.body as ReadableStream<Uint8Array>).getReader().read();
    expect(
      JSON.parse(
        Buffer.from(value ?? [])
          .toString()
          .split("\n")[0] as string,
      ),
    ).toHaveProperty("kind");
    leaving.abort();
  });

  test("are 503 while the server is away, services are not, and come back", async () => {
    const authorization = `Bearer ${token()}`;
    const status = async () => (await call("/v1/hms.sys.deployment/ListServices", { authorization })).status;
    process.kill(await platform.pidOf("server"), "SIGKILL");
    await waitFor(async () => (await status()) === 503, { describe: "503 while the server is away", intervalMs: 1 });
    expect((await fetch(platform.url("/echo-svc"))).status).toBe(200);
    await waitFor(async () => (await status()) === 200, { describe: "the server to be back", deadlineMs: 30_000 });
  });

  test("are described at /docs and /openapi.json, to a browser that gives the token as password", async () => {
    for (const path of ["/docs/", "/openapi.json"]) {
      const refused = await fetch(platform.url(path));
      expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, 'Basic realm="hms-sys"']);
      const authorization = `Basic ${Buffer.from(`operator:${token()}`).toString("base64")}`;
      expect((await fetch(platform.url(path), { headers: { authorization } })).status).toBe(200);
    }
  });
});

describe("files", () => {
  test("are their owner's alone: sockets and tokens 0600 in folders 0700", () => {
    for (const folder of [platform.data, join(platform.data, "run"), config])
      expect([folder, bits(folder)]).toEqual([folder, "700"]);
    for (const socket of ["kernel.sock", "agent.sock", "edge.sock"])
      expect(bits(join(platform.data, "run", socket))).toBe("600");
    const keys = filesBelow(config);
    expect(keys.length).toBeGreaterThanOrEqual(3);
    expect(keys.filter((file) => bits(file) !== "600")).toEqual([]);
  });

  test("of the platform cannot be reached by a replica, its sockets neither", async () => {
    for (const path of [
      join(platform.data, "run", "kernel.sock"),
      join(platform.data, "run", "agent.sock"),
      join(platform.data, "run", "edge.sock"),
      join(config, "operator.token"),
      join(platform.data, "network.json"),
    ]) {
      const script = `require("node:net").connect(${JSON.stringify(path)}).on("connect", () => { console.log("CONNECTED"); process.exit(); }).on("error", (e) => { console.log(e.code); })`;
      const { stdout } = await run("node", "-e", script);
      expect([path, stdout]).toEqual([path, expect.stringMatching(/^(ENOENT|EACCES|ECONNREFUSED)\n$/)]);
      expect((await run("cat", path)).code).not.toBe(0);
    }
  });

  test("of the token are not in a replica's environment", async () => {
    const { stdout } = await run("env");
    const token = readFileSync(join(config, "operator.token"), "utf8").trim();
    expect(stdout).not.toContain(token);
    expect(stdout).not.toMatch(/^(XDG_CONFIG_HOME|HMS_DATA|PGPASS)/m);
  });
});

describe("the platform's own host", () => {
  const host = () => readFileSync(join(config, "platform.host"), "utf8").trim();

  test("answers nobody who guesses, and is the gateway's at ::1 too, where browsers ask first", async () => {
    const status = (name: string, address: string) =>
      new Promise((resolve, reject) => {
        const { gatewayPort: port } = platform.network;
        get({ host: address, port, path: "/sign-in", headers: { host: `${name}:${port}` } }, (response) =>
          resolve([response.resume().statusCode, response.headers["referrer-policy"]]),
        ).on("error", reject);
      });
    for (const address of ["127.0.0.1", "::1"]) {
      expect(await status(host(), address)).toEqual([200, "same-origin"]);
      for (const guess of ["hms.localhost", `hms-${"a".repeat(26)}.localhost`, `x.${host()}`]) {
        expect([guess, await status(guess, address)]).toEqual([guess, [421, undefined]]);
      }
    }
  });
});

describe("the kernel's socket", () => {
  const paths = () => resolveInstance({ instance: platform.instance, data: platform.data });
  async function list(token: string | undefined) {
    const transport = connectSocket({ path: paths().kernelSocket, ...(token === undefined ? {} : { token }) });
    try {
      return await createClient(deployment.DeploymentService, transport).listServices({}, { timeoutMs: 5000 });
    } finally {
      await transport.close();
    }
  }
  const token = (name: string) => readFileSync(join(config, `${name}.token`), "utf8").trim();

  test.each([
    ["without a token", () => undefined, { code: "UNAUTHENTICATED", principal: "anonymous" }],
    ["with a wrong token", () => "f".repeat(64), { code: "UNAUTHENTICATED", principal: "anonymous" }],
    ["with the data plane's token", () => token("dataplane"), { code: "PERMISSION_DENIED", principal: "dataplane" }],
  ])("refuses a call %s, and the refusal is in the audit log", async (_how, shown, { code, principal }) => {
    const denials = () => audited("--method", "ListServices", "--actor", principal, "--outcome", "denied");
    const before = (await denials()).length;
    await expect(list(shown())).rejects.toMatchObject({ code });
    await waitFor(async () => (await denials()).length > before, { describe: `a denial of ${principal}` });
    expect((await denials())[0]).toMatchObject({ actor: { id: principal }, outcome: "AUDIT_OUTCOME_DENIED" });
  });

  test("survives bytes that mean nothing", async () => {
    for (const bytes of [
      Buffer.alloc(70_000, 0xff),
      Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
      Buffer.from([0, 0xff, 0xff, 0xff, 0, 0, 0, 1, 1, 0]),
    ]) {
      const socket = connect(paths().kernelSocket);
      socket.on("error", () => {});
      socket.resume();
      const closed = new Promise((done) => socket.once("close", done));
      socket.end(bytes);
      await closed;
    }
    expect(await platform.json("services")).toHaveLength(1);
  });

  test("has every deploy in the audit log, by whom and where; nothing of it was changed, and it is whole", async () => {
    const deploys = await audited("--method", "DeploymentService/Deploy");
    expect(deploys).toMatchObject([
      { actor: { kind: "operator", id: "operator" }, environment: "staging", outcome: "AUDIT_OUTCOME_OK" },
      { actor: { kind: "operator", id: "operator" }, environment: "default", outcome: "AUDIT_OUTCOME_OK" },
    ]);
    // What the agent has recorded is there as well, and what people read of the log.
    expect(await audited("--method", "hms.sys.agent.*", "--limit", "1")).toHaveLength(1);
    expect(await audited("--method", "AuditService/SearchEvents", "--limit", "1")).toHaveLength(1);
    const verified = await platform.cli("audit", "verify");
    expect(verified, verified.stdout).toMatchObject({ code: 0 });
    expect(verified.stdout).toMatch(/integrity: nothing was changed\ncompleteness: whole up to .* checkpoints prove/);
  });
});

describe("environments", () => {
  const inEnvironment = (environment: string, ...command: string[]) =>
    platform.cli("run", "-e", environment, "echo-svc", "--", ...command);
  const version = async (host: string) => {
    const { stdout } = await inEnvironment("default", "curl", "-s", "-H", `Host: ${host}`, platform.url("/echo-svc"));
    return JSON.parse(stdout).version;
  };

  test("have each its own replicas behind one mesh name", async () => {
    for (const environment of ["default", "staging"]) {
      const answers = await inEnvironment(
        environment,
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6; do curl -s http://echo-svc.mesh/; echo; done",
      );
      const versions = answers.stdout
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).version);
      expect(new Set(versions)).toEqual(new Set([environment]));
    }
  });

  test("are chosen by the host at the gateway", async () => {
    const port = platform.network.gatewayPort;
    expect(await version(`staging.localhost:${port}`)).toBe("staging");
    expect(await version(`localhost:${port}`)).toBe("default");
    expect(await version(`127.0.0.1:${port}`)).toBe("default");
  });

  test("are listed, changed and removed apart", async () => {
    const names = async (...more: string[]) =>
      (await platform.json<{ environment: string }[]>("services", ...more)).map(({ environment }) => environment);
    expect(await names()).toEqual(["default"]);
    expect((await names("--all-environments")).sort()).toEqual(["default", "staging"]);
    expect(await platform.cli("rm", "echo-svc", "--yes", "-e", "staging")).toMatchObject({ code: 0 });
    expect(await version("localhost")).toBe("default");
    const gone = await platform.cli(
      "run",
      "echo-svc",
      "--",
      "curl",
      "-s",
      "-o",
      "/dev/null",
      "-w",
      "%{http_code}",
      "-H",
      "Host: staging.localhost",
      platform.url("/echo-svc"),
    );
    expect(["404", "503"]).toContain(gone.stdout);
  });
});
