import { existsSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSocketServer } from "node:net";
import type { DescMethod } from "@bufbuild/protobuf";
import { deployment, mesh, policy, registry } from "@hms/contracts";
import { createClient, HmsError } from "@hms/kernel";
import { connectSocket } from "@hms/wire";
import { spyOutHost } from "./host-spy.ts";

/** What came of each attempt, by its name: "OK" or an error's code and reason. */
export type Attempts = Record<string, string>;

const { HMS_FFI_SOCKET: path = "", HMS_FFI_TOKEN: token = "", OPERATOR_TOKEN = "", OWNED_ID = "", PORT } = process.env;
const attempts: Attempts = {};

async function attempt(name: string, act: () => unknown): Promise<void> {
  try {
    await act();
    attempts[name] = "OK";
  } catch (error) {
    const { code, details } = HmsError.from(error);
    attempts[name] = details.reason ? `${code} ${details.reason}` : code;
  }
}

const transport = connectSocket({ path, token });
const client = createClient(registry.RegistryService, transport);
const instance = (serviceId: string) => ({
  serviceId,
  version: "v1",
  instanceId: "i-1",
  environment: "default",
  address: `unix:${path.replace("kernel.sock", "services/caller.sock")}`,
});

function call(method: DescMethod, over = transport): Promise<unknown> {
  const options = { timeoutMs: 5000 };
  if (method.methodKind === "unary") return over.unary(method as never, {}, options);
  const none = (async function* () {
    yield {};
  })();
  return over
    .stream(method as never, none as never, options)
    [Symbol.asyncIterator]()
    .next();
}

await attempt("register", () => client.register(instance("hms.test.caller")));
await attempt("look up", async () => {
  const { service } = await client.lookup({ serviceId: "hms.test.caller" });
  if (service?.instances.length !== 1) throw new Error("not found");
});
for (const id of [
  "hms.ffi",
  "hms.sys.deployment",
  "hms.identity",
  "hms.assets",
  "hms.automation",
  "hms.communication",
]) {
  await attempt(`register ${id}`, () => client.register(instance(id)));
}
await attempt("register elsewhere", () => client.register({ ...instance("hms.test.caller"), environment: "prod" }));
await attempt("register another's", () => client.register(instance(OWNED_ID)));
await attempt("unregister another's", () => client.unregister(instance(OWNED_ID)));
await attempt("report another's calls", () => client.reportCalls({ ...instance(OWNED_ID), calls: [] }));
for (const service of [
  registry.RegistryService,
  deployment.DeploymentService,
  mesh.MeshService,
  policy.PolicyService,
]) {
  for (const method of service.methods) {
    await attempt(`${service.name}/${method.name}`, () => call(method));
  }
}
for (const [name, shown] of Object.entries({ nobody: undefined, operator: OPERATOR_TOKEN, forger: `${token}x` })) {
  const other = connectSocket(shown === undefined ? { path } : { path, token: shown });
  await attempt(`look up as ${name}`, () => call(registry.RegistryService.method.lookup, other));
  await other.close();
}
await attempt("a file beside the socket", () => writeFileSync(`${path}.x`, ""));
await attempt("removing the socket", () => rmSync(path));
attempts["the operator's socket"] = String(existsSync(path.replace("ffi/kernel.sock", "run/kernel.sock")));
await attempt("listening among the services", async () => {
  const own = createSocketServer((socket) => socket.end("hello"));
  await new Promise<void>((resolve, reject) => {
    own.once("error", reject);
    own.listen(instance("").address.slice("unix:".length), resolve);
  });
});
const { GATEWAY_PORT: gatewayPort = "", CONFIG: config = "" } = process.env;
createServer(async ({ url }, response) => {
  if (url !== "/caller?spied") return response.end(JSON.stringify(attempts));
  return response.end(JSON.stringify(await spyOutHost({ gatewayPort, config, socket: path, token })));
}).listen(Number(PORT), "127.0.0.1");
