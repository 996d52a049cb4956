import { create, type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { registry } from "@hms/contracts";
import { descriptorSetOf } from "@hms/descriptors";
import { openDirectory, type ServiceKey } from "@hms/directory";
import { MemoryRegistry } from "@hms/directory/testing";
import { anonymous, componentPrincipal, createClient, Kernel, type Principal } from "@hms/kernel";
import { tempFolder, waitFor } from "@hms/testkit";
import { connectSocket, serveSocket } from "@hms/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { grpcSchemes } from "./grpc-schemes.ts";
import { createDirectCalls, createElsewhere } from "./index.ts";
import { echoContract, texts, valuesOf } from "./testing/index.ts";

const contract = echoContract();
const key: ServiceKey = { environment: "default", serviceId: "hms.test", version: "v1" };
const anna: Principal = { kind: "user", id: "anna" };
const ben: Principal = { kind: "user", id: "ben" };

type Text = Message & { value: string };
type Call = grpc.ServerDuplexStream<Text, Text> & { request: Text };
type Handler = (call: Call, answer: (error: object | null, value?: { value: string }) => void) => void;

let stack = new AsyncDisposableStack();
let memory = new MemoryRegistry();
beforeEach(() => {
  stack = new AsyncDisposableStack();
  memory = new MemoryRegistry();
});
afterEach(() => stack.disposeAsync());

/** A server of gRPC's own library, which knows nothing of the platform; what it was sent besides messages. */
async function stockServer(handlers: Record<string, Handler>) {
  const seen: grpc.Metadata[] = [];
  const definitionOf = ({ name, methodKind, input, output }: DescMethod) => ({
    path: `/${contract.typeName}/${name}`,
    requestStream: methodKind === "client_streaming" || methodKind === "bidi_streaming",
    responseStream: methodKind === "server_streaming" || methodKind === "bidi_streaming",
    requestSerialize: (value: Message) => Buffer.from(toBinary(input, value)),
    requestDeserialize: (bytes: Buffer) => fromBinary(input, bytes),
    responseSerialize: (value: Message) => Buffer.from(toBinary(output, create(output, value as never))),
    responseDeserialize: (bytes: Buffer) => fromBinary(output, bytes),
  });
  const methods = contract.methods.filter(({ name }) => handlers[name]);
  const definition = Object.fromEntries(methods.map((method) => [method.name, definitionOf(method)]));
  const noting = ([name, handler]: [string, Handler]): [string, Handler] => [
    name,
    (call, answer) => {
      seen.push(call.metadata);
      handler(call, answer);
    },
  ];
  const server = new grpc.Server();
  server.addService(definition, Object.fromEntries(Object.entries(handlers).map(noting)) as never);
  const port = await new Promise<number>((resolve, reject) => {
    const bound = (error: Error | null, number: number) => (error ? reject(error) : resolve(number));
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), bound);
  });
  stack.defer(() => server.forceShutdown());
  return { address: `grpc://127.0.0.1:${port}`, seen };
}

/** A client of a platform that lets anna call the server, and nobody else. */
async function callerOf(address: string, token = "anna") {
  memory.put(key, [{ instanceId: address, address }], descriptorSetOf([contract.file]));
  const audit = { accepts: true, record: () => {} };
  const registryKernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit,
  });
  registryKernel.register(memory.registration);
  const registryFor = (principal: Principal) => registryKernel.client(registry.RegistryService, principal);
  const directory = stack.use(openDirectory({ registry: registryFor(componentPrincipal("edge")), registryFor }));
  const calls = stack.use(createDirectCalls({ directory, schemes: grpcSchemes() }));
  const kernel = new Kernel({
    identity: { authenticate: (shown) => (shown.token === "anna" ? anna : ben) },
    policy: {
      decide: ({ principal }) => (principal === anna ? { allowed: true } : { allowed: false, reason: "not anna" }),
    },
    audit,
    elsewhere: createElsewhere(directory, calls),
  });
  const path = `${stack.use(tempFolder()).path}/kernel.sock`;
  const server = await serveSocket(kernel, { path, graceMs: 500 });
  stack.defer(() => server.close({ graceMs: 0 }));
  return createClient(contract, stack.use(connectSocket({ path, token })));
}

/** What came as one stream of requests, joined. */
function collected(call: Call, done: (joined: string) => void): void {
  const values: string[] = [];
  call.on("data", ({ value }: Text) => values.push(value));
  call.on("end", () => done(values.join("+")));
}

describe("a stock gRPC server behind the platform", () => {
  test("is called in all four kinds, with metadata and deadline, and sees no credentials of ours", async () => {
    let remainingMs = 0;
    const { address, seen } = await stockServer({
      Read: (call, answer) => {
        remainingMs = Number(call.getDeadline()) - Date.now();
        answer(null, { value: `read ${call.request.value}` });
      },
      List: (call) => {
        for (const value of call.request.value.split(",")) call.write({ value } as Text);
        call.end();
      },
      Collect: (call, answer) => collected(call, (value) => answer(null, { value })),
      Converse: (call) => {
        call.on("data", ({ value }: Text) => call.write({ value: `re: ${value}` } as Text));
        call.on("end", () => call.end());
      },
    });
    const client = await callerOf(address);
    const metadata = { mine: "yes", traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-00` };
    expect((await client.read({ value: "x" }, { timeoutMs: 5_000, metadata })).value).toBe("read x");
    expect(remainingMs).toBeGreaterThan(0);
    expect(remainingMs).toBeLessThanOrEqual(5_000);
    expect(await valuesOf(client.list({ value: "a,b" }))).toEqual(["a", "b"]);
    expect((await client.collect(texts("a", "b"))).value).toBe("a+b");
    expect(await valuesOf(client.converse(texts("a", "b")))).toEqual(["re: a", "re: b"]);
    expect(seen[0]?.getMap()).toMatchObject(metadata);
    for (const sent of seen) expect(sent.get("authorization")).toEqual([]);
    expect(JSON.stringify(seen)).not.toContain("anna");
  });

  test("is not called for whom no policy lets in", async () => {
    const { address, seen } = await stockServer({ Read: (_, answer) => answer(null, { value: "no" }) });
    const client = await callerOf(address, "ben");
    await expect(client.read({ value: "x" })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    expect(seen).toEqual([]);
  });

  test("refuses in its own words", async () => {
    const refusal = { code: grpc.status.FAILED_PRECONDITION, details: "not today" };
    const { address } = await stockServer({ Read: (_, answer) => answer(refusal) });
    const client = await callerOf(address);
    await expect(client.read({ value: "x" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: "not today",
    });
  });

  test("hears that its caller has left", async () => {
    const heard: string[] = [];
    const hanging: Handler = (call) => {
      heard.push("begun");
      call.on("cancelled", () => heard.push("cancelled"));
    };
    const { address } = await stockServer({ Read: hanging });
    const client = await callerOf(address);
    const leave = new AbortController();
    const call = client.read({ value: "x" }, { signal: leave.signal }).catch(({ code }) => code);
    await waitFor(() => heard.includes("begun"), { describe: "the handler to begin" });
    leave.abort();
    expect(await call).toBe("CANCELLED");
    await waitFor(() => heard.includes("cancelled"), { describe: "the server to hear of it" });
  });

  test("that is away is UNAVAILABLE, and called again when it is back", async () => {
    const { address } = await stockServer({ Read: (_, answer) => answer(null, { value: "back" }) });
    const client = await callerOf("grpc://127.0.0.1:1");
    await expect(client.read({ value: "x" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    memory.put(key, [{ instanceId: address, address }], descriptorSetOf([contract.file]));
    await waitFor(async () => (await client.read({ value: "x" })).value === "back", { describe: "the next address" });
  });
});

test("grpcs addresses cannot be called without a certificate of the platform", () => {
  const { grpcs, grpc: plain } = grpcSchemes();
  expect(grpcs?.unusable?.("grpcs://a:1")).toContain("certificate");
  expect(plain?.unusable?.("grpc://a:1")).toBeUndefined();
});
