import { createHash } from "node:crypto";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import { checkedContent, decodeSnapshotFile, encodeSnapshotFile } from "./snapshot-file.ts";

function fileOf(route: MessageInitShape<typeof mesh.RouteSchema>): Buffer {
  const all = { services: [{ environment: "default", name: "a", routes: [{ path: "/x", ...route }] }] };
  const content = toBinary(mesh.SnapshotContentSchema, create(mesh.SnapshotContentSchema, all));
  const sha256 = createHash("sha256").update(content).digest();
  return encodeSnapshotFile(create(mesh.SnapshotSchema, { version: 3n, content, sha256 }));
}

test("a snapshot of which a route requires something is no file that older data planes read", () => {
  const [open, closed] = [fileOf({}), fileOf({ auth: {}, requires: ["auth"] })];
  // What they ask of a file's first line.
  const older = /^HMS-SNAPSHOT 1 [0-9a-f]{64}\n/;
  expect([older.test(open.toString("latin1")), older.test(closed.toString("latin1"))]).toEqual([true, false]);
  for (const file of [open, closed]) expect(decodeSnapshotFile(file).version).toBe(3n);
  expect(checkedContent(decodeSnapshotFile(closed)).services[0]?.routes[0]?.requires).toEqual(["auth"]);
});
