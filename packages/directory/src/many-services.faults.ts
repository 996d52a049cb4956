import { registry } from "@hms/contracts";
import { anonymous, componentPrincipal, Kernel } from "@hms/kernel";
import { expect, test } from "vitest";
import { openDirectory } from "./index.ts";
import { MemoryRegistry } from "./testing.ts";

const one = { instanceId: "a", address: "unix:/a.sock", ticketKey: Buffer.alloc(32, 7) };

test("ten thousand services are followed by one watch, and looked up without asking again", async () => {
  const memory = new MemoryRegistry();
  const nameOf = (n: number) => ({ environment: "default", version: "v1", serviceId: `hms.load.s${n}` });
  for (let n = 0; n < 10_000; n += 1) memory.put(nameOf(n), [one]);
  const kernel = new Kernel({
    identity: { authenticate: () => anonymous },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record: () => {} },
  });
  kernel.register(memory.registration);
  await using directory = openDirectory({
    registry: kernel.client(registry.RegistryService, componentPrincipal("self")),
  });
  await directory.follow("default");
  await Promise.all(Array.from({ length: 10_000 }, (_, n) => directory.lookup(nameOf(n))));
  expect(memory.calls).toMatchObject({ watch: 1, lookup: 10_000 });
  for (let n = 0; n < 10_000; n += 1) expect(directory.lookup(nameOf(n))).not.toBeInstanceOf(Promise);
  expect(memory.calls.lookup).toBe(10_000);
});
