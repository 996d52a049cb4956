import { readdirSync } from "node:fs";
import { startNodeProgram, tempFolder } from "@hms/testkit";
import { expect, test } from "vitest";
import { SnapshotStore } from "./snapshot-store.ts";

/** Keeps three hundred snapshots as one of several data planes. */
const program = (folder: string) => `
import { createHash } from "node:crypto";
import { SnapshotStore } from ${JSON.stringify(import.meta.resolve("./snapshot-store.ts"))};
const store = new SnapshotStore(${JSON.stringify(folder)});
const content = Buffer.alloc(0);
const sha256 = createHash("sha256").update(content).digest();
for (let version = 1n; version <= 300n; version += 1n) {
  store.save({ $typeName: "hms.sys.mesh.v1.Snapshot", version, content, sha256 });
}`;

test("two data planes that keep their snapshots in one folder never trip over each other", async () => {
  using folder = tempFolder();
  const programs = [1, 2, 3].map(() => startNodeProgram(program(folder.path)));
  await Promise.all(programs.map((one) => one.output()));
  expect(readdirSync(folder.path).filter((name) => !/^snapshot\.\d{16}$/.test(name))).toEqual([]);
  const { used, spoilt } = new SnapshotStore(folder.path).load(({ version }) => version);
  expect({ used, spoilt }).toEqual({ used: 300n, spoilt: [] });
});
