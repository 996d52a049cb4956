import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { mesh } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { readContract } from "./contract.ts";
import { descriptorSetOf, readDescriptorSet } from "./descriptor-set.ts";

const meshSet = descriptorSetOf([mesh.MeshService.file]);

function problemOf(bytes: Uint8Array, packageName = "hms.sys.mesh.v1"): string {
  const reading = readContract(bytes, packageName);
  return "problem" in reading ? reading.problem : "";
}

type FileInit = Parameters<typeof create<typeof FileDescriptorProtoSchema>>[1];

function problemOfFiles(...files: FileInit[]): string {
  const file = files.map((init) =>
    create(FileDescriptorProtoSchema, { name: "a.proto", package: "a.v1", syntax: "proto3", ...init }),
  );
  return problemOf(toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file })), "a.v1");
}

const service = { name: "A", method: [{ name: "Do", inputType: ".a.v1.M", outputType: ".a.v1.M" }] };

describe("a contract", () => {
  test("is taken if it is complete and has a service in the package, its files in any order", () => {
    expect(problemOf(meshSet)).toBe("");
    const other = { name: "b.proto", package: "b", messageType: [{ name: "N" }] };
    const own = { dependency: ["b.proto"], messageType: [{ name: "M" }], service: [service] };
    expect(problemOfFiles(own, other)).toBe("");
  });

  test("names its fields in JSON as protoc does where the names were left out", () => {
    const field = { name: "user_name", number: 1, type: 9, label: 1 };
    const inner = {
      name: "N",
      field: [
        { ...field, jsonName: "own" },
        { ...field, name: "user_id", number: 2 },
      ],
    };
    const file = {
      name: "a.proto",
      package: "a.v1",
      syntax: "proto3",
      messageType: [{ name: "M", field: [field], nestedType: [inner] }],
    };
    const set = create(FileDescriptorSetSchema, { file: [create(FileDescriptorProtoSchema, file)] });
    const files = readDescriptorSet(toBinary(FileDescriptorSetSchema, set));
    const namesOf = (message: string) => files.getMessage(message)?.fields.map(({ jsonName }) => jsonName);
    expect([namesOf("a.v1.M"), namesOf("a.v1.M.N")]).toEqual([["userName"], ["own", "userId"]]);
  });

  test("is refused if it is no descriptor set, lacks its imports, or belongs to another service", () => {
    expect(problemOf(new TextEncoder().encode("garbage"))).toContain("no complete FileDescriptorSet");
    const alone = create(FileDescriptorSetSchema, { file: [mesh.MeshService.file.proto] });
    expect(problemOf(toBinary(FileDescriptorSetSchema, alone))).toContain("build it with imports");
    expect(problemOf(meshSet, "hms.cdf.debate.v1")).toContain("no service in the package hms.cdf.debate.v1");
    expect(problemOf(meshSet, "google.protobuf")).toContain("no service in the package");
    expect(problemOf(new Uint8Array(3_000_000))).toContain("larger than");
  });

  test.each<[string, FileInit[]]>([
    ["a message twice", [{ messageType: [{ name: "M" }, { name: "M" }], service: [service] }]],
    [
      "a field number twice",
      [
        {
          messageType: [
            { name: "M", field: [1, 1].map((number, index) => ({ name: `f${index}`, number, type: 9, label: 1 })) },
          ],
        },
      ],
    ],
    ["an impossible number", [{ messageType: [{ name: "M", field: [{ name: "f", number: 0, type: 9, label: 1 }] }] }]],
    ["an enum without values", [{ enumType: [{ name: "E" }] }]],
    ["a name that is none", [{ messageType: [{ name: "a b" }] }]],
    ["a file twice", [{}, {}]],
    ["imports in a circle", [{ dependency: ["b.proto"] }, { name: "b.proto", package: "b", dependency: ["a.proto"] }]],
    ["types that are nowhere", [{ service: [service] }]],
  ])("is refused if it has %s", (_, files) => {
    expect(problemOfFiles(...files)).toContain("no complete FileDescriptorSet");
  });
});
