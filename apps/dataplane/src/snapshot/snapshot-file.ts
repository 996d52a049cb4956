import { createHash } from "node:crypto";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { mesh } from "@hms/contracts";

const HEAD = /^HMS-SNAPSHOT [12] ([0-9a-f]{64})\n/;
const HEAD_BYTES = 15 + 64 + 1;

/**
 * A snapshot as a file: a line with format and checksum, then the snapshot. The format is 2 where a route requires
 * something: data planes of before that was said read 1 only, and so serve nothing instead of what should be protected.
 */
export function encodeSnapshotFile(snapshot: mesh.Snapshot): Buffer {
  const body = toBinary(mesh.SnapshotSchema, snapshot);
  const { services } = fromBinary(mesh.SnapshotContentSchema, snapshot.content);
  const format = services.some(({ routes }) => routes.some(({ requires }) => requires.length > 0)) ? 2 : 1;
  return Buffer.concat([Buffer.from(`HMS-SNAPSHOT ${format} ${sha256(body).toString("hex")}\n`), body]);
}

/** Reads what `encodeSnapshotFile` wrote. @throws Error that says what is wrong with it. */
export function decodeSnapshotFile(file: Buffer): mesh.Snapshot {
  const sum = HEAD.exec(file.toString("latin1", 0, HEAD_BYTES))?.[1];
  if (sum === undefined) throw new Error("it does not begin with a snapshot's first line");
  const body = file.subarray(HEAD_BYTES);
  if (sha256(body).toString("hex") !== sum) throw new Error("its checksum is wrong");
  return fromBinary(mesh.SnapshotSchema, body);
}

/** The content of a snapshot whose checksum is right. @throws Error if it is not, or holds something else. */
export function checkedContent(snapshot: mesh.Snapshot): mesh.SnapshotContent {
  if (!sha256(snapshot.content).equals(snapshot.sha256)) throw new Error("its content's checksum is wrong");
  return fromBinary(mesh.SnapshotContentSchema, snapshot.content);
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}
