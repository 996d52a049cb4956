import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { openServiceDatabase } from "@hms/postgres";
import { openTestTransport, startTestPostgres, tempInstance, waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { createMeshService, type MeshTables, meshMigrations } from "./index.ts";

/** A killed server keeps what it has committed, a machine without power would not. */
const settings = "fsync = off\n";
const network = { vipPrefix: "127.88", proxyPort: 3002 };

const picture = (name: string, port = 80) =>
  create(mesh.MeshServiceEntrySchema, { environment: "default", name, ports: [port] });

test("a picture that need not be stored reaches data planes while PostgreSQL is dead, outlives the service, and is stored later", async () => {
  await using stack = new AsyncDisposableStack();
  const kept = mkdtempSync(join(tmpdir(), "hms-kept-"));
  stack.defer(() => rmSync(kept, { recursive: true }));
  const { paths } = stack.use(tempInstance());
  const killed = await startTestPostgres(paths, { settings });
  const open = { source: killed.source, service: "mesh", migrations: meshMigrations };
  const database = stack.use(await openServiceDatabase<MeshTables>(open));
  const start = async () => {
    await using own = new AsyncDisposableStack();
    const service = own.use(createMeshService({ database, network, kept }));
    const client = own.use(await openTestTransport([service.registration], "in-process")).client(mesh.MeshService);
    const all = own.move();
    const portsOf = async (name: string) => {
      const { content } = await client.getSnapshot({});
      return content?.services.find((each) => each.name === name)?.ports;
    };
    return { client, portsOf, [Symbol.asyncDispose]: () => all.disposeAsync() };
  };

  let first: bigint;
  let last: bigint;
  {
    await using running = await start();
    const { client } = running;
    await client.setService({ service: picture("b") });
    const stored = await client.setService({ service: picture("a", 81), evenUnstored: true });
    expect(stored.unstored).toBe(false);
    await killed.kill();
    const unstored = await client.setService({ service: picture("a", 82), evenUnstored: true });
    expect(unstored).toMatchObject({ unstored: true, vip: stored.vip });
    first = unstored.snapshotVersion;
    expect(first).toBeGreaterThan(stored.snapshotVersion);
    expect(await running.portsOf("a")).toEqual([82]);
    await expect(client.setService({ service: picture("b", 90) }, { timeoutMs: 200 })).rejects.toThrow();
    await expect(client.setService({ service: picture("new"), evenUnstored: true })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining("no address"),
    });
  }
  {
    // The service has ended in between, and the database is still away.
    await using running = await start();
    const { version } = await running.client.getSnapshot({});
    expect(version).toBe(first);
    const again = await running.client.setService({ service: picture("a", 83), evenUnstored: true });
    last = again.snapshotVersion;
    expect(last).toBeGreaterThan(first);
    stack.use(await startTestPostgres(paths, { settings }));
    await waitFor(() => !existsSync(join(kept, "unstored.json")), { describe: "the picture to be stored" });
    const { version: after } = await running.client.getSnapshot({});
    expect(after).toBeGreaterThan(last);
    expect(await running.portsOf("a")).toEqual([83]);
    expect(await running.portsOf("b")).toEqual([]);
    expect((await running.client.setService({ service: picture("a", 84), evenUnstored: true })).unstored).toBe(false);
  }
  await using running = await start();
  expect(await running.portsOf("a")).toEqual([84]);
}, 60_000);
