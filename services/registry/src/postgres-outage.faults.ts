import { policy, registry } from "@hms/contracts";
import { openServiceDatabase } from "@hms/postgres";
import { openTestTransport, startTestPostgres, tempInstance } from "@hms/testkit";
import { expect, test } from "vitest";
import { createRegistryService, type RegistryTables, registryMigrations } from "./index.ts";

/** A killed server keeps what it has committed, a machine without power would not. */
const settings = "fsync = off\n";

const instance = (serviceId: string) => ({ serviceId, version: "v1", instanceId: "i", address: "unix:/run/i.sock" });

test("when PostgreSQL is killed, watches stay open, calls wait for its return, no lease is lost, and what was refused is not done later", async () => {
  await using stack = new AsyncDisposableStack();
  const { paths } = stack.use(tempInstance());
  const killed = await startTestPostgres(paths, { settings });
  const open = { source: killed.source, service: "registry", migrations: registryMigrations };
  const database = stack.use(await openServiceDatabase<RegistryTables>(open));
  const service = stack.use(createRegistryService({ database }));
  const transport = stack.use(await openTestTransport([service.registration, service.policies], "socket"));
  const client = transport.client(registry.RegistryService);
  const watch = client.watch({})[Symbol.asyncIterator]();
  expect((await watch.next()).value?.kind).toBe(registry.WatchEventKind.SYNCED);
  await client.register({ ...instance("before"), leaseDuration: { seconds: 5n, nanos: 0 } });
  expect((await watch.next()).value?.service?.serviceId).toBe("before");

  await killed.kill();
  await expect(client.lookup({ serviceId: "before" }, { timeoutMs: 200 })).rejects.toMatchObject({
    code: expect.stringMatching(/UNAVAILABLE|DEADLINE_EXCEEDED/),
  });
  const patient = client.register(instance("after"), { timeoutMs: 30_000 });
  const back = await startTestPostgres(paths, { settings });
  await patient;
  expect((await watch.next()).value?.service?.serviceId).toBe("after");
  expect((await client.lookup({ serviceId: "before" })).service?.instances).toHaveLength(1);

  await back.kill();
  // One that fails leaves the next to wait for what the database has to tell: not for ever, and not to be done later.
  const policies = transport.client(policy.PolicyService);
  const put = (policyId: string) => policies.putPolicy({ policy: { policyId, service: "a.b", allowedRoles: ["x"] } });
  const refused = { code: "UNAVAILABLE", message: expect.stringContaining("database") };
  await Promise.all(["p-1", "p-2"].map((id) => expect(put(id)).rejects.toMatchObject(refused)));
  stack.use(await startTestPostgres(paths, { settings }));
  expect((await policies.listPolicies({}, { timeoutMs: 30_000 })).policies).toEqual([]);
});
