import { create } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { contractAdditions } from "./contract-additions.ts";
import { registryOf } from "./descriptor-set.ts";

const field = (name: string, number: number) => ({ name, number, type: 9, label: 1 });
const method = (name: string) => ({ name, inputType: ".a.v1.Ask", outputType: ".a.v1.Ask" });

function contract(more: Partial<FileDescriptorProto>, fields: object[], methods: object[], values: object[]) {
  return registryOf([
    create(FileDescriptorProtoSchema, {
      name: "a.proto",
      package: "a.v1",
      syntax: "proto3",
      ...more,
      messageType: [{ name: "Ask", field: fields }, ...(more.messageType ?? [])],
      enumType: [{ name: "Color", value: [{ name: "COLOR_NONE", number: 0 }, ...values] }],
      service: [{ name: "AService", method: methods }],
    } as never),
  ]);
}

const before = contract({}, [field("a", 1)], [method("Get")], []);

test("a contract adds fields, methods, messages and values; nothing is told twice", () => {
  const more = { messageType: [{ name: "New", field: [field("x", 1)] }] as never };
  const after = contract(
    more,
    [field("a", 1), field("b_c", 2)],
    [method("Get"), method("Put")],
    [{ name: "COLOR_RED", number: 1 }],
  );
  expect(contractAdditions(before, after)).toEqual([
    { kind: "method", subject: "a.v1.AService/Put" },
    { kind: "field", subject: "a.v1.Ask.b_c" },
    { kind: "message", subject: "a.v1.New" },
    { kind: "value", subject: "a.v1.Color.COLOR_RED" },
  ]);
  expect(contractAdditions(after, before)).toEqual([]);
});

test("fields that no compiler wrote have JSON names", () => {
  const files = contract({}, [field("policy_id", 1)], [method("Get")], []);
  expect(files.getMessage("a.v1.Ask")?.fields[0]?.jsonName).toBe("policyId");
});
