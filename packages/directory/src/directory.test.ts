import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema, file_google_protobuf_wrappers } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { anonymous, componentPrincipal, Kernel, type Principal } from "@hms/kernel";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Directory, type DirectoryOptions, openDirectory, ticketClaims } from "./index.ts";
import { MemoryRegistry } from "./testing.ts";

const key = { environment: "default", serviceId: "hms.cdf.debate", version: "v1" };
const ticketKey = Buffer.alloc(32, 7);
const one = { instanceId: "a", address: "unix:/a.sock", ticketKey };
const two = { instanceId: "b", address: "unix:/b.sock", ticketKey };

const open: Directory[] = [];
afterEach(async () => {
  for (const directory of open.splice(0)) await directory[Symbol.asyncDispose]();
});

let memory = new MemoryRegistry();
beforeEach(() => {
  memory = new MemoryRegistry();
});

function directoryOf(options: Partial<DirectoryOptions> = {}) {
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(memory.registration);
  const clientOf = (principal: Principal) => kernel.client(registry.RegistryService, principal);
  const directory = openDirectory({ registry: clientOf(componentPrincipal("self")), ...options });
  open.push(directory);
  return { directory, clientOf };
}

const idsOf = ({ instances }: registry.ServiceEntry) => instances.map(({ instanceId }) => instanceId);

describe("a lookup", () => {
  test("asks the registry once and answers at once from then on", async () => {
    memory.put(key, [one]);
    const { directory } = directoryOf();
    const [first, second] = await Promise.all([directory.lookup(key), directory.lookup(key)]);
    expect(idsOf(first.entry)).toEqual(["a"]);
    expect(second).toBe(first);
    expect(directory.lookup(key)).toBe(first);
    expect(memory.calls.lookup).toBe(1);
  });

  test("brings a ticket for each instance", async () => {
    memory.put(key, [one, two]);
    const { directory } = directoryOf();
    const { tickets } = await directory.lookup(key);
    const claims = ticketClaims(tickets.get("b")?.metadata.authorization?.slice("Ticket ".length) ?? "");
    expect(claims).toMatchObject({ aud: "default/hms.cdf.debate/v1/b", sub: "component:self" });
  });

  test("follows the service: what the registry tells is there with the next call", async () => {
    memory.put(key, [one]);
    const { directory } = directoryOf();
    await directory.lookup(key);
    memory.put(key, [one, two]);
    await vi.waitFor(async () => expect(idsOf((await directory.lookup(key)).entry)).toEqual(["a", "b"]));
    await vi.waitFor(async () => expect([...(await directory.lookup(key)).tickets.keys()]).toEqual(["a", "b"]));
  });

  test("remembers for a moment that there is no such service, and notices when there is", async () => {
    const { directory } = directoryOf({ negativeTtlMs: 30 });
    for (let i = 0; i < 3; i += 1) {
      await expect((async () => directory.lookup(key))()).rejects.toMatchObject({ code: "NOT_FOUND" });
    }
    expect(memory.calls.lookup).toBe(1);
    memory.put(key, [one]);
    await vi.waitFor(async () => expect(idsOf((await directory.lookup(key)).entry)).toEqual(["a"]));
  });

  test("fetches new tickets at half of their life while calls go on with the old ones", async () => {
    memory.ticketLifeMs = 400;
    memory.put(key, [one]);
    const { directory } = directoryOf();
    const first = await directory.lookup(key);
    await vi.waitFor(() => {
      const now = directory.lookup(key);
      expect(now).not.toBeInstanceOf(Promise);
      expect(now).not.toBe(first);
    });
    expect(memory.calls.lookup).toBe(2);
  });

  test("asks again after the refresh interval, however long tickets live", async () => {
    memory.ticketLifeMs = 3_600_000;
    memory.put(key, [one]);
    const { directory } = directoryOf({ refreshIntervalMs: 50 });
    await directory.lookup(key);
    await vi.waitFor(async () => {
      await directory.lookup(key);
      expect(memory.calls.lookup).toBeGreaterThan(2);
    });
  });

  test("asks again where there was no ticket, so that who may call later calls directly", async () => {
    memory.put(key, [{ instanceId: "a", address: "unix:/a.sock" }]);
    const { directory } = directoryOf();
    expect((await directory.lookup(key)).tickets.size).toBe(0);
    memory.put(key, [one]);
    const ticketed = async () => expect([...(await directory.lookup(key)).tickets.keys()]).toEqual(["a"]);
    await vi.waitFor(ticketed, { timeout: 10_000 });
  });

  test("gives each principal its own tickets", async () => {
    memory.put(key, [one]);
    const { directory, clientOf } = directoryOf();
    const shared = directoryOf({ registryFor: clientOf }).directory;
    const anna: Principal = { kind: "user", id: "anna" };
    const subject = async (asked: Directory, principal?: Principal) =>
      ticketClaims((await asked.lookup(key, principal)).tickets.get("a")?.metadata.authorization ?? "").sub;
    expect(await subject(shared, anna)).toBe("user:anna");
    expect(await subject(shared, { kind: "user", id: "ben" })).toBe("user:ben");
    expect(await subject(directory, anna)).toBe("component:self");
    const found = await shared.lookup(key, anna);
    expect(await shared.lookup(key, { ...anna })).toBe(found);
    // Another key of the same account, which may do less.
    expect(await shared.lookup(key, { ...anna, scopes: ["services:call"] })).not.toBe(found);
  });

  test("asks anew for what was revoked, and for nothing else", async () => {
    memory.put(key, [one]);
    const { clientOf } = directoryOf();
    const { directory } = directoryOf({ registryFor: clientOf });
    const anna: Principal = { kind: "user", id: "anna" };
    const ben: Principal = { kind: "user", id: "ben" };
    const [annas, bens] = [await directory.lookup(key, anna), await directory.lookup(key, ben)];
    await vi.waitFor(() => expect(memory.calls.watch).toBe(1));
    memory.revoke({ principal: "user:anna" });
    await vi.waitFor(async () => expect(await directory.lookup(key, anna)).not.toBe(annas));
    const renewed = await directory.lookup(key, anna);
    memory.revokeAgain();
    memory.put({ ...key, serviceId: "hms.other" }, [one]);
    await new Promise((resolve) => setImmediate(resolve));
    expect((await directory.lookup(key, anna)).tickets).toBe(renewed.tickets);
    expect((await directory.lookup(key, ben)).tickets).toBe(bens.tickets);
  });
});

describe("while the registry is away", () => {
  test("lookups go on from what is known until tickets end, and not longer", async () => {
    memory.ticketLifeMs = 300;
    memory.put(key, [one]);
    const failures: string[] = [];
    const { directory } = directoryOf({ onFailure: ({ code }) => failures.push(code) });
    await directory.lookup(key);
    await vi.waitFor(() => expect(memory.calls.watch).toBe(1));
    memory.away = true;
    await vi.waitFor(() => expect(failures).toContain("UNAVAILABLE"));
    expect(idsOf((await directory.lookup(key)).entry)).toEqual(["a"]);
    await vi.waitFor(async () => {
      await expect((async () => directory.lookup(key))()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    });
  });

  test("services without tickets are known for the cache's time", async () => {
    memory.put(key, [{ instanceId: "a", address: "unix:/a.sock" }]);
    const { directory } = directoryOf({ cacheTtlMs: 200 });
    await directory.lookup(key);
    memory.away = true;
    expect(idsOf((await directory.lookup(key)).entry)).toEqual(["a"]);
    await vi.waitFor(async () => {
      await expect((async () => directory.lookup(key))()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    });
  });

  test("what changed meanwhile is known when it is back, what has gone too", async () => {
    const other = { ...key, serviceId: "hms.emr.patient" };
    memory.put(key, [one]);
    memory.put(other, [two]);
    const { directory } = directoryOf();
    await directory.follow("default");
    expect([...directory.entries("default")]).toHaveLength(2);
    memory.away = true;
    memory.remove(key);
    memory.put(other, [one, two]);
    await vi.waitFor(() => expect(directory.isCurrent("default")).toBe(false));
    expect(directory.entry(key)).toBeDefined();
    memory.away = false;
    await vi.waitFor(() => expect(directory.isCurrent("default")).toBe(true));
    expect(directory.entry(key)).toBeUndefined();
    expect(idsOf(directory.entry(other) as registry.ServiceEntry)).toEqual(["a", "b"]);
  });
});

describe("contracts", () => {
  const contract = toBinary(
    FileDescriptorSetSchema,
    create(FileDescriptorSetSchema, { file: [file_google_protobuf_wrappers.proto] }),
  );

  test("are fetched once for each content", async () => {
    const other = { ...key, version: "v2" };
    memory.put(key, [one], contract);
    memory.put(other, [one], contract);
    const { directory } = directoryOf();
    const { entry } = await directory.lookup(key);
    const [first, second] = await Promise.all([directory.contract(entry), directory.contract(entry)]);
    expect(first).toBe(second);
    expect(directory.contract((await directory.lookup(other)).entry)).toBe(first);
    expect(memory.calls.getContract).toBe(1);
  });

  test("are undefined for services that have none", async () => {
    memory.put(key, [one]);
    const { directory } = directoryOf();
    expect(directory.contract((await directory.lookup(key)).entry)).toBeUndefined();
  });
});
