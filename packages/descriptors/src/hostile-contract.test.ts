import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import { expect, test } from "vitest";
import { readContract } from "./contract.ts";
import { contractDifferences } from "./contract-differences.ts";
import { contractDigest } from "./contract-digest.ts";
import { descriptorSetOf } from "./descriptor-set.ts";
import { Random } from "./testing/random.ts";

const PACKAGE = "hms.sys.mesh.v1";
const set = descriptorSetOf([mesh.MeshService.file]);
const own = readContract(set, PACKAGE);

test("every random change of a descriptor set is read or refused, and what is read can be judged", () => {
  if (!("contract" in own)) expect.unreachable();
  let read = 0;
  for (let seed = 1; seed <= 400; seed += 1) {
    const random = new Random(seed);
    const bytes = new Uint8Array(set);
    for (let count = 1 + random.below(4); count > 0; count -= 1) bytes[random.below(bytes.length)] = random.below(256);
    const reading = readContract(random.chance(0.2) ? bytes.subarray(0, random.below(bytes.length)) : bytes, PACKAGE);
    if ("problem" in reading) {
      expect(reading.problem).toMatch(/^(has|is) /);
      continue;
    }
    read += 1;
    expect(contractDigest(reading.contract.files, PACKAGE)).toMatch(/^[0-9a-f]{64}$/);
    expect(contractDifferences(own.contract.files, reading.contract.files)).toBeInstanceOf(Array);
  }
  expect(read).toBeGreaterThan(20);
});

/** A file with messages inside of each other. */
function nested(depth: number): Uint8Array {
  let message = new BinaryWriter().tag(1, WireType.LengthDelimited).string("M").finish();
  for (let level = 1; level < depth; level += 1) {
    const writer = new BinaryWriter().tag(1, WireType.LengthDelimited).string("M");
    message = writer.tag(3, WireType.LengthDelimited).bytes(message).finish();
  }
  const file = new BinaryWriter().tag(1, WireType.LengthDelimited).string("a.proto");
  const bytes = file.tag(4, WireType.LengthDelimited).bytes(message).finish();
  return new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(bytes).finish();
}

test("messages nested without end are refused, not followed", () => {
  for (const depth of [50, 1000, 4000]) {
    const bytes = nested(depth);
    const started = process.cpuUsage();
    expect(readContract(bytes, PACKAGE)).toHaveProperty("problem");
    expect(process.cpuUsage(started).user).toBeLessThan(2_000_000);
  }
});

test.each([
  ["google.api.http", 72_295_728],
  ["hms.ffi.v1.rule", 51_000],
])("an option %s that holds bytes that mean nothing is refused, before anybody else stumbles over it", (name, no) => {
  const hostile = fromBinary(FileDescriptorSetSchema, set);
  const options = hostile.file.flatMap(({ service }) => service).flatMap(({ method }) => method)[0]?.options;
  if (options === undefined) expect.unreachable();
  const data = new Uint8Array([2, 0xff, 0xff]);
  options.$unknown = [{ no, wireType: WireType.LengthDelimited, data }];
  expect(readContract(toBinary(FileDescriptorSetSchema, hostile), PACKAGE)).toMatchObject({
    problem: expect.stringContaining(`the option (${name}) of rpc`),
  });
});
