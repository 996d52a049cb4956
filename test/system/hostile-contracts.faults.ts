import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { create, type MessageInitShape, setExtension, toBinary } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
  MethodOptionsSchema,
} from "@bufbuild/protobuf/wkt";
import { resolveInstance } from "@hms/config";
import { deployment, httpAnnotations, httpRules, integrationOperations, registry } from "@hms/contracts";
import { createClient } from "@hms/kernel";
import { waitFor } from "@hms/testkit";
import { connectSocket } from "@hms/wire";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Platform, startPlatform } from "./platform.ts";

const { OPTIONAL } = FieldDescriptorProto_Label;
const { MESSAGE, STRING } = FieldDescriptorProto_Type;
const { OperationState } = integrationOperations;

let platform: Platform;
let operatorToken = "";
const stack = new AsyncDisposableStack();
const paths = () => resolveInstance({ instance: platform.instance, data: platform.data });
const transportOf = (token: string) => stack.use(connectSocket({ path: paths().kernelSocket, token }));

beforeAll(async () => {
  platform = stack.use(await startPlatform());
  const config = join(String(platform.env.XDG_CONFIG_HOME), "hms-sys", platform.instance);
  operatorToken = readFileSync(join(config, "operator.token"), "utf8").trim();
  const digest = createHash("sha256").update("evil-token").digest("hex");
  const key = { id: "evil", kind: "service", roles: ["service"], token_sha256: digest, registers: ["hms.evil.*"] };
  writeFileSync(join(config, "ffi-keys.json"), JSON.stringify({ keys: [key] }), { mode: 0o600 });
  const client = createClient(registry.RegistryService, transportOf("evil-token"));
  await waitFor(() => client.list({}).then(Boolean, () => false), { describe: "the key to be known" });
}, 120_000);
afterAll(() => stack.disposeAsync(), 60_000);

type FileInit = MessageInitShape<typeof FileDescriptorProtoSchema>;

/** A contract with one service "EvilService" and one method "Do", whose request and answer have a field `value`. */
function evilFile(
  serviceId: string,
  options = create(MethodOptionsSchema),
  field: object = { type: STRING },
): FileInit {
  const type = `.${serviceId}.v1.Note`;
  return {
    name: `${serviceId}.proto`,
    package: `${serviceId}.v1`,
    syntax: "proto3",
    messageType: [{ name: "Note", field: [{ name: "value", number: 1, label: OPTIONAL, ...field }] }],
    service: [{ name: "EvilService", method: [{ name: "Do", inputType: type, outputType: type, options }] }],
  };
}

function register(serviceId: string, address: string, ...file: FileInit[]) {
  const fileDescriptorSet = toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
  return createClient(registry.RegistryService, transportOf("evil-token")).register({
    serviceId,
    version: "v1",
    instanceId: "i",
    address,
    fileDescriptorSet,
    leaseDuration: { seconds: 300n },
  });
}

const post = (path: string, body = "{}", headers: Record<string, string> = {}) =>
  fetch(platform.url(path), {
    method: "POST",
    body,
    headers: { "content-type": "application/json", authorization: `Bearer ${operatorToken}`, ...headers },
  });

/** Calls a service as the operator does, once its route is known. */
async function callEvil(serviceId: string, body = "{}") {
  const path = `/v1/${serviceId}/Do`;
  return waitFor(
    async () => {
      const response = await post(path, body);
      return response.status === 404 ? undefined : { status: response.status, text: await response.text() };
    },
    { describe: `the route ${path}` },
  );
}

test("a contract that states the platform's paths gets none of its calls", async () => {
  const rule = create(httpRules.HttpRuleSchema, {
    pattern: { case: "post", value: "/v1/hms.sys.deployment/ListServices" },
    body: "*",
  });
  const options = create(MethodOptionsSchema);
  setExtension(options, httpAnnotations.http, rule);
  await register("hms.evil.routes", "unix:/nowhere.sock", evilFile("hms.evil.routes", options));
  expect((await callEvil("hms.evil.routes")).status).toBe(503);
  expect((await post("/v1/hms.sys.deployment/ListServices")).status).toBe(200);
});

test("a contract with options that cannot be read is refused, and every route goes on", async () => {
  const options = create(MethodOptionsSchema);
  options.$unknown = [{ no: 72_295_728, wireType: 2, data: new Uint8Array([2, 0xff, 0xff]) }];
  const registering = register("hms.evil.options", "unix:/nowhere.sock", evilFile("hms.evil.options", options));
  await expect(registering).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  expect((await post("/v1/hms.sys.deployment/ListServices")).status).toBe(200);
});

test("who registers one of the platform's sockets as its own has nobody's rights there", async () => {
  const server = await platform.pidOf("server");
  for (const socket of ["agentSocket", "kernelSocket", "ffiSocket"] as const) {
    const id = `hms.evil.${socket.toLowerCase()}`;
    await register(id, `unix:${paths()[socket]}`, evilFile(id));
    expect([socket, (await callEvil(id)).status]).not.toEqual([socket, 200]);
  }
  expect(await platform.pidOf("server")).toBe(server);
});

test("an address that somebody registered sees neither the caller's token nor one of the platform's", async () => {
  const seen: IncomingHttpHeaders[] = [];
  const spy = createServer((request, response) => {
    seen.push(request.headers);
    request.resume();
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  }).listen(0, "127.0.0.1");
  stack.defer(() => {
    spy.close();
    spy.closeAllConnections();
  });
  await waitFor(() => spy.listening, { describe: "the spy" });
  const address = `http://127.0.0.1:${(spy.address() as AddressInfo).port}`;
  await register("hms.evil.spy", address, evilFile("hms.evil.spy"));
  expect((await callEvil("hms.evil.spy")).status).toBe(200);
  expect(seen.length).toBeGreaterThan(0);
  for (const headers of seen) {
    expect(JSON.stringify(headers)).not.toContain(operatorToken);
    expect(headers.authorization).toMatch(/^Ticket /);
    expect(headers.cookie).toBeUndefined();
  }
});

test("types that only bear the names of protobuf's or the platform's own bring nobody down", async () => {
  const server = await platform.pidOf("server");
  const text = { name: "x", number: 1, label: OPTIONAL, type: STRING };
  for (const [id, packageName, name, body] of [
    ["hms.evil.struct", "google.protobuf", "Struct", '{"value": {"a": [1]}}'],
    ["hms.evil.stamp", "google.protobuf", "Timestamp", '{"value": "2020-01-01T00:00:00Z"}'],
    ["hms.evil.any", "google.protobuf", "Any", '{"value": {"@type": "x/y", "a": 1}}'],
    ["hms.evil.mask", "google.protobuf", "FieldMask", '{"value": "a,b"}'],
    ["hms.evil.wrapped", "google.protobuf", "StringValue", '{"value": "x"}'],
    ["hms.evil.operation", "hms.sys.integration.v1", "Operation", '{"value": {"x": "y"}}'],
  ] as const) {
    const fake: FileInit = {
      name: "fake.proto",
      package: packageName,
      syntax: "proto3",
      messageType: [{ name, field: [text] }],
    };
    const file = evilFile(id, undefined, { type: MESSAGE, typeName: `.${packageName}.${name}` });
    const registered = await register(id, "unix:/nowhere.sock", fake, { ...file, dependency: ["fake.proto"] }).then(
      () => true,
      () => false,
    );
    if (registered) await callEvil(id, body);
    for (const path of ["/openapi.json", "/docs/"]) {
      const { status } = await fetch(platform.url(path), { headers: { authorization: `Bearer ${operatorToken}` } });
      expect([id, path, status]).toEqual([id, path, 200]);
    }
  }
  expect(await platform.pidOf("server")).toBe(server);
});

test("an operation, or its callback, may do no more than whoever started it", async () => {
  const evil = createClient(integrationOperations.OperationService, transportOf("evil-token"));
  const operator = createClient(integrationOperations.OperationService, transportOf(operatorToken));
  const { typeName: service } = deployment.DeploymentService;
  const list = { service, method: "ListServices" };
  const { operation: started } = await evil.startOperation({ ...list, callback: list });
  const operationId = started?.operationId ?? "";
  const { operation } = await evil.waitOperation({ operationId });
  expect(operation).toMatchObject({ state: OperationState.FAILED, error: { code: 7 } });
  expect(operation?.response).toHaveLength(0);
  const mine = await operator.startOperation(list);
  const foreign = { operationId: mine.operation?.operationId ?? "" };
  for (const act of ["getOperation", "waitOperation", "cancelOperation"] as const) {
    await expect(evil[act](foreign)).rejects.toMatchObject({ code: "NOT_FOUND" });
  }
  expect((await evil.listOperations({})).operations.map((one) => one.principal)).toEqual(["service:evil"]);
});
