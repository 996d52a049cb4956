import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { openServiceDatabase } from "@hms/postgres";
import { openTestTransport, startTestPostgres, tempInstance } from "@hms/testkit";
import { expect, test } from "vitest";
import { createMeshService, type MeshTables, meshMigrations } from "./index.ts";

/** A killed server keeps what it has committed, a machine without power would not. */
const settings = "fsync = off\n";
const network = { vipPrefix: "127.88", proxyPort: 3002 };

function picture(name: string) {
  return { service: create(mesh.MeshServiceEntrySchema, { environment: "default", name }) };
}

test("when PostgreSQL is killed, data planes stay connected, reads go on, and changes wait for its return", async () => {
  await using stack = new AsyncDisposableStack();
  const { paths } = stack.use(tempInstance());
  const killed = await startTestPostgres(paths, { settings });
  const open = { source: killed.source, service: "mesh", migrations: meshMigrations };
  const database = stack.use(await openServiceDatabase<MeshTables>(open));
  const service = stack.use(createMeshService({ database, network }));
  const transport = stack.use(await openTestTransport([service.registration], "socket"));
  const client = transport.client(mesh.MeshService);
  const stream = client.watchSnapshots({ nodeId: "dp-1" })[Symbol.asyncIterator]();
  await stream.next();
  const before = await client.setService(picture("a"));
  expect((await stream.next()).value?.snapshot?.version).toBe(before.snapshotVersion);

  // In flight while it dies: whichever of them were committed are in the snapshot, and each may be made again.
  const flying = Array.from({ length: 20 }, (_, index) => client.setService(picture(`flying-${index}`)));
  await killed.kill();
  expect((await client.getSnapshot({})).version).toBeGreaterThanOrEqual(before.snapshotVersion);
  await expect(client.describeEnvironment({ environment: "default" })).resolves.toBeDefined();
  await expect(client.setService(picture("b"), { timeoutMs: 200 })).rejects.toMatchObject({
    code: expect.stringMatching(/UNAVAILABLE|DEADLINE_EXCEEDED/),
  });

  const patient = client.setService(picture("c"), { timeoutMs: 30_000 });
  stack.use(await startTestPostgres(paths, { settings }));
  const after = await patient;
  expect(after.snapshotVersion).toBeGreaterThan(before.snapshotVersion);
  await Promise.all(flying);
  const { version, content } = await client.getSnapshot({});
  expect(content?.services.map(({ name }) => name)).toEqual(
    expect.arrayContaining(["a", "c", "flying-0", "flying-19"]),
  );
  for (;;) {
    const { value } = await stream.next();
    if (value?.snapshot?.version === version) break;
  }
});
