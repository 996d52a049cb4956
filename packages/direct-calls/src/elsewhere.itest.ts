import { create, createFileRegistry, type DescService, type JsonObject, toJson } from "@bufbuild/protobuf";
import { StructSchema } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { contractOfSchemas, descriptorSetOf, ruleOf } from "@hms/descriptors";
import { openDirectory, type ServiceKey } from "@hms/directory";
import { MemoryRegistry } from "@hms/directory/testing";
import {
  anonymous,
  type CallTracer,
  componentPrincipal,
  createClient,
  HmsError,
  implement,
  Kernel,
  type KernelOptions,
  type Principal,
  type ServiceImplementation,
} from "@hms/kernel";
import { tempFolder, waitFor } from "@hms/testkit";
import { createTicketIdentity, createTicketPolicy } from "@hms/tickets";
import { connectSocket, serveSocket } from "@hms/wire";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createDirectCalls, createElsewhere } from "./index.ts";
import { type EchoContract, echoContract, texts, valuesOf } from "./testing/index.ts";

const contract = echoContract();
const key: ServiceKey = { environment: "default", serviceId: "hms.test", version: "v1" };
const audit = { accepts: true, record: () => {} };
const anna: Principal = { kind: "user", id: "anna" };

let stack = new AsyncDisposableStack();
let memory = new MemoryRegistry();
beforeEach(() => {
  stack = new AsyncDisposableStack();
  memory = new MemoryRegistry();
});
afterEach(() => stack.disposeAsync());

/** A platform whose edge is open to the token of anna; what it does not serve it looks for elsewhere. */
async function platform(ports: Pick<KernelOptions, "tracer"> = {}) {
  const path = `${stack.use(tempFolder()).path}/kernel.sock`;
  const registryKernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit,
  });
  registryKernel.register(memory.registration);
  const registryFor = (principal: Principal) => registryKernel.client(registry.RegistryService, principal);
  const directory = openDirectory({ registry: registryFor(componentPrincipal("edge")), registryFor });
  stack.use(directory);
  const calls = createDirectCalls({ directory });
  stack.use(calls);
  const kernel = new Kernel({
    identity: { authenticate: ({ token }) => (token === "anna" ? anna : anonymous) },
    policy: {
      decide: ({ principal }) => (principal === anna ? { allowed: true } : { allowed: false, reason: "not anna" }),
    },
    audit,
    elsewhere: createElsewhere(directory, calls),
    ...ports,
  });
  const server = await serveSocket(kernel, { path, graceMs: 500 });
  stack.defer(() => server.close({ graceMs: 0 }));
  const transport = connectSocket({ path, token: "anna" });
  stack.use(transport);
  return { kernel, transport };
}

type Ports = Pick<KernelOptions, "identity" | "policy">;
const openToAll: Ports = { identity: { authenticate: () => anonymous }, policy: { decide: () => ({ allowed: true }) } };

async function instance<S extends DescService>(
  service: S,
  own: Partial<ServiceImplementation<S>>,
  ports: Ports = openToAll,
): Promise<string> {
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of this test.");
  };
  const all = Object.fromEntries(service.methods.map(({ localName }) => [localName, unused]));
  const kernel = new Kernel({ ...ports, audit });
  const registration = implement(service, { ...all, ...own } as ServiceImplementation<S>);
  kernel.register({ ...registration, ruleOf });
  const server = await serveSocket(kernel, { path: `${stack.use(tempFolder()).path}/i.sock`, graceMs: 500 });
  stack.defer(() => server.close({ graceMs: 0 }));
  return server.address;
}

describe("a service that lives elsewhere", () => {
  test("is called through the edge in all four kinds, with metadata and deadline", async () => {
    const seen: unknown[] = [];
    const address = await instance(contract, {
      read: ({ value }, { metadata, remainingMs }) => {
        seen.push(metadata.mine, metadata["x-hms-environment"], (remainingMs ?? 9e9) <= 5_000);
        return { value: `read ${value}` };
      },
      async *list({ value }) {
        for (const part of value.split(",")) yield { value: part };
      },
      collect: async (requests) => ({ value: (await valuesOf(requests)).join("+") }),
      async *converse(requests) {
        for await (const { value } of requests) yield { value: `re: ${value}` };
      },
    });
    memory.put(key, [{ instanceId: "a", address }], descriptorSetOf([contract.file]));
    const { transport } = await platform();
    const client = createClient(contract, transport);
    const metadata = { mine: "yes", "x-hms-environment": "default" };
    expect((await client.read({ value: "x" }, { timeoutMs: 5_000, metadata })).value).toBe("read x");
    expect(seen).toEqual(["yes", undefined, true]);
    expect(await valuesOf(client.list({ value: "a,b" }))).toEqual(["a", "b"]);
    expect((await client.collect(texts("a", "b"))).value).toBe("a+b");
    expect(await valuesOf(client.converse(texts("a", "b")))).toEqual(["re: a", "re: b"]);
  });

  test("hears of the span that was made for the call here, or of the caller's where none was", async () => {
    const heard: unknown[] = [];
    const address = await instance(contract, {
      read: (_, { metadata }) => {
        heard.push(metadata.traceparent);
        return { value: "" };
      },
    });
    memory.put(key, [{ instanceId: "a", address }], descriptorSetOf([contract.file]));
    const traceparentOf = (span: string) => `00-${"a".repeat(32)}-${span.repeat(16)}-01`;
    const tracer: CallTracer = {
      begin: ({ metadata }) =>
        metadata.sampled ? { traceparent: traceparentOf("c"), run: (work) => work(), end: () => {} } : undefined,
      failed: () => {},
    };
    const { transport } = await platform({ tracer });
    const client = createClient(contract, transport);
    const metadata = { traceparent: traceparentOf("b") };
    await client.read({ value: "" }, { metadata: { ...metadata, sampled: "yes" } });
    await client.read({ value: "" }, { metadata });
    expect(heard).toEqual([traceparentOf("c"), traceparentOf("b")]);
  });

  test("is called on behalf of the caller, by a ticket that the instance checks itself", async () => {
    const ticketKey = Buffer.alloc(32, 3);
    const keys = new Map([["default/hms.test/v1/a", ticketKey]]);
    const ports = { identity: createTicketIdentity({ keys }), policy: createTicketPolicy() };
    const address = await instance(contract, { read: (_, { principal }) => ({ value: principal.id }) }, ports);
    memory.put(key, [{ instanceId: "a", address, ticketKey }], descriptorSetOf([contract.file]));
    const { transport } = await platform();
    expect((await createClient(contract, transport).read({ value: "" })).value).toBe("anna");
  });

  test("answers with the methods of its contract as it is now", async () => {
    const old = echoContract();
    const address = await instance(contract, { read: () => ({ value: "ok" }) });
    memory.put(key, [{ instanceId: "a", address }], descriptorSetOf([withoutRead(old)]));
    const { kernel, transport } = await platform();
    const client = createClient(contract, transport);
    await expect(client.read({ value: "" })).rejects.toMatchObject({ code: "UNIMPLEMENTED" });
    const changed = kernel.changed.next(AbortSignal.timeout(5_000));
    memory.put(key, [{ instanceId: "a", address }], descriptorSetOf([old.file]));
    expect(await changed).toBe(true);
    await waitFor(async () => (await client.read({ value: "" })).value === "ok", { describe: "the new method" });
    await waitFor(() => [...kernel.services("default")].some(({ typeName }) => typeName === contract.typeName), {
      describe: "the contract to be listed",
    });
  });

  test("is found in its environment only", async () => {
    const address = await instance(contract, { read: () => ({ value: "ok" }) });
    memory.put({ ...key, environment: "stage" }, [{ instanceId: "a", address }], descriptorSetOf([contract.file]));
    const { transport } = await platform();
    const client = createClient(contract, transport);
    await expect(client.read({ value: "" })).rejects.toMatchObject({ code: "UNIMPLEMENTED" });
    const metadata = { "x-hms-environment": "stage" };
    expect((await client.read({ value: "" }, { metadata })).value).toBe("ok");
  });

  test("takes and answers any JSON object if it has no contract", async () => {
    const schema = create(registry.MethodSchemaSchema, { name: "GetPatient" });
    const { files } = contractOfSchemas({ serviceId: "hms.emr.patient", version: "v1", methods: [schema] });
    const service = files.getService("hms.emr.patient.v1.PatientService") as DescService;
    const answer = (request: never) => ({ fields: { got: { kind: { case: "structValue", value: request } } } });
    const address = await instance(service, { getPatient: answer } as never, openToAll);
    memory.put({ ...key, serviceId: "hms.emr.patient" }, [{ instanceId: "a", address }]);
    const { transport } = await platform();
    const client = createClient(service, transport) as unknown as { getPatient(request: object): Promise<never> };
    const request = { fields: { id: { kind: { case: "stringValue", value: "p-1" } } } };
    expect(toJson(StructSchema, await client.getPatient(request))).toEqual({ got: { id: "p-1" } } satisfies JsonObject);
  });

  test("that nobody offers is unimplemented, and costs the registry nothing", async () => {
    const { transport } = await platform();
    const client = createClient(contract, transport);
    for (let i = 0; i < 5; i += 1) {
      await expect(client.read({ value: "" })).rejects.toMatchObject({ code: "UNIMPLEMENTED" });
    }
    expect(memory.calls).toEqual({ lookup: 0, getContract: 0, watch: 1 });
  });
});

/** The contract as it was before it had the method Read. */
function withoutRead({ file }: EchoContract) {
  const proto = structuredClone(file.proto);
  for (const service of proto.service) service.method = service.method.filter(({ name }) => name !== "Read");
  const files = createFileRegistry(proto, (name) => file.dependencies.find((one) => one.proto.name === name));
  return files.getFile(proto.name) as typeof file;
}
