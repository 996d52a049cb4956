import { registry } from "@hms/contracts";
import { readDescriptorSet } from "@hms/descriptors";
import { endTransports } from "@hms/testkit";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { instance, openScene, openSceneVia, registryHost, shopContract } from "./testing/registry-scene.ts";

const { CURRENT, SYNCED } = registry.WatchEventKind;

let stack = new AsyncDisposableStack();
afterAll(() => registryHost[Symbol.asyncDispose]());
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

const shop = instance("acme.shop");
const first = { ...shop, fileDescriptorSet: shopContract({ 1: "id", 2: "note" }) };
const grown = {
  ...shop,
  fileDescriptorSet: shopContract({ 1: "id", 2: "note", 3: "price" }, { methods: ["Get", "Put"] }),
};
const broken = { ...shop, fileDescriptorSet: shopContract({ 1: "number" }, { methods: [] }) };
const schemas = (properties: Record<string, unknown>) => [
  { name: "Get", inputSchema: JSON.stringify({ type: "object", properties }), outputSchema: '{"type":"object"}' },
];

describe.each(endTransports)("contracts in the registry, called %s", (via) => {
  test("a breaking change is refused with every difference, and nothing of it stays", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register(first);
    const before = await client.getContract(shop);
    await expect(client.register({ ...broken, instanceId: "i-2" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("acme.shop v1"),
      details: {
        reason: "CONTRACT_BREAKS",
        metadata: { serviceId: "acme.shop", version: "v1", environment: "default" },
        fieldViolations: expect.arrayContaining([
          { field: "acme.shop.v1.ShopService/Get", description: expect.stringContaining("UNIMPLEMENTED") },
          { field: "acme.shop.v1.Order.id", description: expect.stringContaining('now called "number"') },
          { field: "acme.shop.v1.Order.note", description: expect.stringContaining("reserve its number") },
        ]),
      },
    });
    expect(await client.getContract(shop)).toEqual(before);
    expect((await client.lookup(shop)).service?.instances).toMatchObject([{ instanceId: "i-1" }]);
  });

  test("the next version, and another environment, promise for themselves", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register(first);
    await client.register({ ...broken, environment: "staging", fileDescriptorSet: shopContract({ 1: "number" }) });
    expect((await client.list({})).services).toHaveLength(1);
    await expect(client.getContract({ ...shop, environment: "prod" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("a compatible change is taken, and told to watches by the contract's digest", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register(first);
    const call = new AbortController();
    const watch = client.watch({}, { signal: call.signal })[Symbol.asyncIterator]();
    const next = async () => (await watch.next()).value as registry.WatchResponse;
    const entry = await next();
    expect(entry).toMatchObject({ kind: CURRENT, service: { hasContract: true } });
    expect((await next()).kind).toBe(SYNCED);
    const digest = entry.service?.contractDigest ?? "";
    expect(digest).toMatch(/^[0-9a-f]{64}$/);
    await client.register(grown);
    const changed = (await next()).service?.contractDigest ?? "";
    expect(changed).toMatch(/^[0-9a-f]{64}$/);
    expect(changed).not.toBe(digest);
    const stored = await client.getContract(shop);
    expect(stored.contractDigest).toBe(changed);
    const methods = readDescriptorSet(stored.fileDescriptorSet).getService("acme.shop.v1.ShopService")?.methods;
    expect(methods?.map(({ name }) => name)).toEqual(["Get", "Put"]);
    call.abort();
  });

  test("the same contract again is no change, other comments are kept", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register(first);
    const before = await client.getContract(shop);
    await client.register(first);
    expect(await client.getContract(shop)).toEqual(before);
    await client.register({
      ...shop,
      fileDescriptorSet: shopContract({ 1: "id", 2: "note" }, { comment: "An order." }),
    });
    const after = await client.getContract(shop);
    expect(after.contractDigest).toBe(before.contractDigest);
    expect(new TextDecoder().decode(after.fileDescriptorSet)).toContain("An order.");
  });

  test("what would change can be asked beforehand, without changing it", async () => {
    const { client } = await openSceneVia(stack, via);
    expect(await client.checkContract(first)).toMatchObject({ known: false, differences: [] });
    await client.register(first);
    expect(await client.checkContract(grown)).toMatchObject({ known: true, differences: [] });
    const { differences } = await client.checkContract(broken);
    expect(differences.map(({ rule, breaking }) => [rule, breaking])).toEqual(
      expect.arrayContaining([
        ["RPC_NO_DELETE", true],
        ["FIELD_SAME_NAME", true],
      ]),
    );
    expect((await client.getContract(shop)).contractDigest).not.toBe("");
    expect(await client.checkContract(grown)).toMatchObject({ known: true });
    await expect(client.checkContract(shop)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  test("a contract that nobody has given, and a service that is not there, are told apart", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register(shop);
    await expect(client.getContract(shop)).rejects.toMatchObject({ details: { reason: "CONTRACT_UNKNOWN" } });
    await expect(client.getContract({ serviceId: "acme.shopp" })).rejects.toMatchObject({
      details: { reason: "SERVICE_UNKNOWN", metadata: { nearest: "acme.shop" } },
    });
  });

  test("methods described by schemas keep their fields' numbers from one registration to the next", async () => {
    const { client } = await openSceneVia(stack, via);
    await client.register({ ...shop, methodSchemas: schemas({ b: { type: "string" }, c: { type: "integer" } }) });
    const told = await client.register({
      ...shop,
      methodSchemas: schemas({ a: { type: "string" }, c: { type: "integer" } }),
    });
    const { fileDescriptorSet } = await client.getContract(shop);
    const message = readDescriptorSet(fileDescriptorSet).getMessage("acme.shop.v1.GetRequest");
    expect(message?.fields.map(({ name, number }) => [name, number])).toEqual([
      ["c", 2],
      ["a", 3],
    ]);
    expect(told.warnings).toMatchObject([
      { rule: "FIELD_NO_DELETE", subject: "acme.shop.v1.GetRequest.b", breaking: false },
    ]);
    await expect(
      client.register({ ...shop, methodSchemas: schemas({ a: { type: "boolean" }, c: { type: "integer" } }) }),
    ).rejects.toMatchObject({ details: { reason: "CONTRACT_BREAKS" } });
  });

  test("what a contract cannot say of its schemas is a warning at registration", async () => {
    const { client } = await openSceneVia(stack, via);
    const methodSchemas = schemas({ a: { oneOf: [{ type: "string" }, { type: "number" }] } });
    expect((await client.register({ ...shop, methodSchemas })).warnings).toMatchObject([
      { rule: "SCHEMA_NOT_SAID", subject: "acme.shop.v1.GetRequest.a", breaking: false },
    ]);
  });
});

describe("at once", () => {
  test("of contracts that contradict each other, one is taken and the others are refused", async () => {
    const { client } = await openScene(stack);
    const names = Array.from({ length: 8 }, (_, index) => `name_${index}`);
    const outcomes = await Promise.allSettled(
      names.map((name, index) =>
        client.register({
          ...instance("acme.shop", { instanceId: `i-${index}` }),
          fileDescriptorSet: shopContract({ 1: name }),
        }),
      ),
    );
    const taken = outcomes.flatMap(({ status }, index) => (status === "fulfilled" ? [index] : []));
    expect(taken).toHaveLength(1);
    const stored = readDescriptorSet((await client.getContract(shop)).fileDescriptorSet);
    expect(stored.getMessage("acme.shop.v1.Order")?.fields[0]?.name).toBe(names[taken[0] ?? -1]);
    expect((await client.lookup(shop)).service?.instances.map(({ instanceId }) => instanceId)).toEqual([
      `i-${taken[0]}`,
    ]);
  });
});
