import { timestampNow } from "@bufbuild/protobuf/wkt";
import { HmsError } from "@hms/kernel";
import { casesOf } from "@hms/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { type BlockedTable, type KillableRegistry, openKillScene } from "./testing/killable-registry.ts";
import { instance, shopContract } from "./testing/registry-scene.ts";
import { startStockServer } from "./testing/stock-grpc-server.ts";

let stack = new AsyncDisposableStack();
afterEach(async () => {
  await stack.disposeAsync();
  stack = new AsyncDisposableStack();
});

const shop = { ...instance("acme.shop"), fileDescriptorSet: shopContract({ 1: "id" }) };
const grown = { ...shop, address: "unix:/run/moved.sock", fileDescriptorSet: shopContract({ 1: "id", 2: "note" }) };

const nurses = { policyId: "nurses", service: "acme.*", method: "Get*", allowedRoles: ["nurse", "doctor"] };
const reported = {
  recordId: "r-1",
  time: timestampNow(),
  method: "ShopService/Get",
  principal: "user:anna",
  requestId: "reported",
};

function unlessGone(error: unknown): void {
  if (HmsError.from(error).code !== "NOT_FOUND") throw error;
}

interface Operation {
  name: string;
  prepare?: (registry: KillableRegistry, address: string) => Promise<unknown>;
  run: (registry: KillableRegistry, address: string) => Promise<unknown>;
  /** Tables at which it can be caught in the middle. */
  tables: BlockedTable[];
}

const operations: Operation[] = [
  {
    name: "a first registration",
    run: ({ client }) => client.register(shop),
    tables: ["service", "contract", "instance"],
  },
  {
    name: "a registration with a grown contract and another address",
    prepare: ({ client }) => client.register(shop),
    run: ({ client }) => client.register(grown),
    tables: ["contract", "instance"],
  },
  {
    name: "a renewal",
    prepare: ({ client }) => client.register(shop),
    run: ({ client }) => client.register(instance("acme.shop")),
    tables: ["instance"],
  },
  {
    name: "the last instance's leaving",
    prepare: ({ client }) => client.register(shop),
    run: ({ client }) => client.unregister(shop),
    tables: ["instance", "service"],
  },
  {
    name: "a stock gRPC server's registration",
    run: ({ client }, address) => client.registerForeign({ address }),
    tables: ["contract", "instance", "foreign_server"],
  },
  {
    name: "a stock gRPC server's leaving",
    prepare: ({ client }, address) => client.registerForeign({ address, services: ["helloworld.Greeter"] }),
    run: ({ client }, address) => client.unregister({ serviceId: "helloworld", version: "v1", instanceId: address }),
    tables: ["instance", "service", "foreign_server"],
  },
  {
    name: "a policy that takes something away",
    prepare: ({ policies }) => policies.putPolicy({ policy: nurses }),
    run: ({ policies }) => policies.putPolicy({ policy: { ...nurses, deniedRoles: ["nurse"] } }),
    tables: ["policy", "revocation"],
  },
  {
    name: "a policy's end",
    prepare: ({ policies }) => policies.putPolicy({ policy: nurses }),
    run: ({ policies }) => policies.deletePolicy({ policyId: "nurses" }).catch(unlessGone),
    tables: ["policy", "revocation"],
  },
  {
    name: "a report of calls",
    prepare: ({ client }) => client.register(shop),
    run: ({ client }) => client.reportCalls({ ...instance("acme.shop"), calls: [reported] }),
    // It only asks there whose the service is; what it writes is the audit log.
    tables: [],
  },
];

describe.each(operations)("a registry killed during $name", ({ prepare, run, tables }) => {
  test.each(casesOf(tables, (_, index) => index === 0))("while it changes %s has changed nothing", async (table) => {
    const scene = await openKillScene(stack);
    const { address } = stack.use(await startStockServer({ protos: ["greeter", "orders"] }));
    const started = await scene.start();
    await prepare?.(started, address);
    const before = await scene.state();
    const block = await scene.block(table);
    const call = run(started, address).catch(() => {});
    await block.stuck();
    await started.kill();
    await block.release();
    expect(await scene.state()).toEqual(before);
    await call;
  });

  test("after its answer has changed everything", async () => {
    const scene = await openKillScene(stack);
    const { address } = stack.use(await startStockServer({ protos: ["greeter", "orders"] }));
    const started = await scene.start();
    await prepare?.(started, address);
    const before = await scene.state();
    await run(started, address);
    await started.kill();
    const after = await scene.state();
    const next = await scene.start();
    await run(next, address);
    expect(await scene.state()).toEqual(after);
    if (tables.length !== 1) expect(after).not.toEqual(before);
  });
});

test("killed at any moment among many registrations, it has kept those it answered, and each of the others whole or not", async () => {
  const scene = await openKillScene(stack);
  for (const round of [1, 2, 3]) {
    const { client, kill } = await scene.start();
    const answered = new Set<string>();
    const calls = Array.from({ length: 60 }, async (_, index) => {
      const instanceId = `i-${round}-${index}`;
      const environment = `e-${round}-${index}`;
      await client.register({ ...shop, instanceId, environment });
      answered.add(environment);
      if (index === round * 12) await kill();
    });
    await Promise.allSettled(calls);
    const next = await scene.start();
    for (let index = 0; index < 60; index += 1) {
      const environment = `e-${round}-${index}`;
      const found = await next.client.lookup({ serviceId: "acme.shop", environment }).catch(() => undefined);
      if (answered.has(environment)) expect(found?.service).toMatchObject({ hasContract: true, instances: [{}] });
      else if (found) expect(found.service).toMatchObject({ hasContract: true, instances: [{}] });
      else
        await expect(next.client.getContract({ serviceId: "acme.shop", environment })).rejects.toMatchObject({
          code: "NOT_FOUND",
        });
    }
    expect(answered.size).toBeGreaterThan(0);
    await next.kill();
  }
});
