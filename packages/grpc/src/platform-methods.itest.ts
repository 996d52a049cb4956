import { create, createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { grpcHealth, grpcReflection, grpcReflectionAlpha, registry } from "@hms/contracts";
import { anonymous, ChangeSignal, createClient, Kernel, type MethodEntry } from "@hms/kernel";
import { echoKernel, waitFor } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { probe, reflectionCall } from "./server-probe.ts";
import { contract, RpcStage } from "./testing/rpc-stage.ts";

const stage = new RpcStage();
afterEach(() => stage.release());

type Question = Parameters<ReturnType<typeof reflectionCall>>[1] extends AsyncIterable<infer Q> ? Q : never;

async function served({ openReflection = true, allowed = true, find = (): MethodEntry | undefined => undefined } = {}) {
  const offered = [contract as typeof registry.RegistryService | typeof contract];
  const changed = new ChangeSignal();
  const elsewhere = { find, services: () => offered, changed };
  const policy = { decide: () => (allowed ? { allowed: true as const } : { allowed: false as const, reason: "no" }) };
  const identity = { authenticate: () => anonymous };
  const kernel = new Kernel({ ...echoKernel(contract).options, identity, policy, elsewhere });
  const { address } = await stage.serve({ kernel, openReflection });
  const { transport } = stage.connect({ address });
  return { transport, offered, changed };
}

async function* one(question: Question) {
  yield question;
}

async function asked(transport: Awaited<ReturnType<typeof served>>["transport"], question: Question, alpha = false) {
  const { ServerReflection } = alpha ? grpcReflectionAlpha : grpcReflection;
  for await (const answer of reflectionCall(transport)(ServerReflection, one(question))) return answer.messageResponse;
  throw new Error("no answer");
}

test("a service that offers reflection or health itself is not asked for the platform's", async () => {
  const impostor = () => {
    throw new Error("an impostor was asked");
  };
  const { transport } = await served({ find: impostor });
  expect(await createClient(grpcHealth.Health, transport).check({})).toMatchObject({ status: 1 });
  const list: Question = { messageRequest: { case: "listServices", value: "*" } };
  expect(await asked(transport, list)).toMatchObject({ case: "listServicesResponse" });
});

describe("reflection", () => {
  test.each([
    ["v1", false],
    ["v1alpha", true],
  ])("%s lists what can be called now", async (_, alpha) => {
    const { transport, offered } = await served();
    const list: Question = { messageRequest: { case: "listServices", value: "*" } };
    const names = async () => {
      const answer = await asked(transport, list, alpha);
      return answer.case === "listServicesResponse" ? answer.value.service.map(({ name }) => name) : answer;
    };
    const always = [
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
    ];
    expect(await names()).toEqual([...always, "hms.test.v1.EchoService"]);
    offered.push(registry.RegistryService);
    expect(await names()).toEqual([...always, "hms.ffi.v1.RegistryService", "hms.test.v1.EchoService"]);
  });

  test.each([
    "hms.test.v1.EchoService",
    "hms.test.v1.EchoService.Unary",
    "google.protobuf.StringValue",
    "google.protobuf.StringValue.value",
    "hms.ffi.v1.InstanceState",
    "hms.ffi.v1.INSTANCE_STATE_AVAILABLE",
    "hms.ffi.v1.rule",
    "grpc.health.v1.HealthCheckResponse.ServingStatus",
  ])("finds the file of %s, and with it all that it imports", async (symbol) => {
    const { transport, offered } = await served();
    offered.push(registry.RegistryService);
    const answer = await asked(transport, { messageRequest: { case: "fileContainingSymbol", value: symbol } });
    if (answer.case !== "fileDescriptorResponse") throw new Error(JSON.stringify(answer.value));
    const file = answer.value.fileDescriptorProto.map((bytes) => fromBinary(FileDescriptorProtoSchema, bytes));
    const found = createFileRegistry(create(FileDescriptorSetSchema, { file: file.toReversed() }));
    const parent = symbol.slice(0, symbol.lastIndexOf("."));
    const known = found.get(symbol) ?? found.get(parent) ?? [...found].find(({ kind }) => kind === "enum");
    expect(known).toBeDefined();
  });

  test("knows extensions, and says what it does not know", async () => {
    const { transport, offered } = await served();
    offered.push(registry.RegistryService);
    const type = "google.protobuf.MethodOptions";
    const numbers = await asked(transport, { messageRequest: { case: "allExtensionNumbersOfType", value: type } });
    if (numbers.case !== "allExtensionNumbersResponse") throw new Error("no numbers");
    const [extensionNumber = 0] = numbers.value.extensionNumber;
    const extension = { containingType: type, extensionNumber };
    expect(
      (await asked(transport, { messageRequest: { case: "fileContainingExtension", value: extension } })).case,
    ).toBe("fileDescriptorResponse");
    expect(await asked(transport, { messageRequest: { case: "fileByFilename", value: "no.proto" } })).toMatchObject({
      case: "errorResponse",
      value: { errorCode: 5 },
    });
  });

  test("and health need the right to read the registry, unless the server is open", async () => {
    const { transport } = await served({ openReflection: false, allowed: false });
    const list: Question = { messageRequest: { case: "listServices", value: "*" } };
    await expect(asked(transport, list)).rejects.toMatchObject({ code: "UNAUTHENTICATED" });
    await expect(createClient(grpcHealth.Health, transport).check({})).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
    });
    const open = await served({ openReflection: true, allowed: false });
    expect((await asked(open.transport, list)).case).toBe("listServicesResponse");
  });
});

describe("health", () => {
  test("is that of the server, or of a service that can be called", async () => {
    const { transport } = await served();
    const client = createClient(grpcHealth.Health, transport);
    const { SERVING } = grpcHealth.HealthCheckResponse_ServingStatus;
    expect((await client.check({})).status).toBe(SERVING);
    expect((await client.check({ service: "hms.test.v1.EchoService" })).status).toBe(SERVING);
    await expect(client.check({ service: "no.Such" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(Object.keys((await client.list({})).statuses)).toContain("hms.test.v1.EchoService");
  });

  test("can be watched while services come and go", async () => {
    const { transport, offered, changed } = await served();
    const seen: number[] = [];
    const leave = new AbortController();
    const watching = (async () => {
      const service = registry.RegistryService.typeName;
      const stream = createClient(grpcHealth.Health, transport).watch({ service }, { signal: leave.signal });
      for await (const { status } of stream) seen.push(status);
    })().catch(() => {});
    const { SERVING, SERVICE_UNKNOWN } = grpcHealth.HealthCheckResponse_ServingStatus;
    await waitFor(() => seen.length === 1, { describe: "the first status" });
    offered.push(registry.RegistryService);
    changed.notify();
    await waitFor(() => seen.length === 2, { describe: "the second status" });
    expect(seen).toEqual([SERVICE_UNKNOWN, SERVING]);
    leave.abort();
    await watching;
  });
});

describe("a probe of a server", () => {
  test("finds it alive if it answers, whatever it says, and not if nobody answers", async () => {
    const { transport } = await served();
    expect(await probe(transport)).toEqual({ alive: true, reason: "" });
    const guarded = await served({ openReflection: false, allowed: false });
    expect(await probe(guarded.transport)).toEqual({ alive: true, reason: "" });
    const { address, close } = await stage.serve();
    await close();
    const away = await probe(stage.connect({ address }).transport);
    expect(away).toMatchObject({ alive: false, reason: expect.stringContaining("does not answer") });
  });
});
