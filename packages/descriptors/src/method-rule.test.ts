import { clone, create } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema, MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import { ffiOptions, mesh } from "@hms/contracts";
import { methodRule } from "@hms/kernel";
import { expect, test } from "vitest";
import { registryOf } from "./descriptor-set.ts";
import { isUntyped, ruleOf } from "./method-rule.ts";
import { serviceNameOf } from "./service-name.ts";
import { wellKnownFile } from "./well-known-files.ts";

const STRUCT = ".google.protobuf.Struct";
const file = create(FileDescriptorProtoSchema, {
  name: "a.proto",
  package: "acme.shop.v2",
  syntax: "proto3",
  dependency: ["google/protobuf/struct.proto"],
  messageType: [{ name: "Empty" }],
  service: [
    {
      name: "ShopService",
      method: [
        { name: "Plain", inputType: STRUCT, outputType: STRUCT },
        {
          name: "Read",
          inputType: ".acme.shop.v2.Empty",
          outputType: STRUCT,
          options: { idempotencyLevel: Level.NO_SIDE_EFFECTS },
        },
        { name: "Put", inputType: STRUCT, outputType: STRUCT, options: { idempotencyLevel: Level.IDEMPOTENT } },
      ],
    },
  ],
});

const methods = () => {
  const files = registryOf([
    wellKnownFile("google/protobuf/struct.proto") ?? expect.unreachable(),
    clone(FileDescriptorProtoSchema, file),
  ]);
  return files.getService("acme.shop.v2.ShopService")?.method ?? expect.unreachable();
};

test("a method that says nothing asks for services:call on its service, is recorded, and is not repeated", () => {
  expect(ruleOf(methods().plain ?? expect.unreachable())).toEqual({
    permission: "services:call",
    resourcePath: [],
    resource: "acme.shop",
    auditLevel: ffiOptions.AuditLevel.METADATA,
    idempotency: ffiOptions.Idempotency.NONE,
  });
});

test("idempotency_level is believed", () => {
  const { read, put } = methods();
  expect(ruleOf(read ?? expect.unreachable()).idempotency).toBe(ffiOptions.Idempotency.NO_SIDE_EFFECTS);
  expect(ruleOf(put ?? expect.unreachable()).idempotency).toBe(ffiOptions.Idempotency.IDEMPOTENT);
});

test("a rule of its own is taken as it is, but for the environment, which requests to users' services do not name", () => {
  for (const method of mesh.MeshService.methods) {
    const { namesEnvironment: _, ...rule } = methodRule(method);
    expect(ruleOf(method)).toEqual(rule);
  }
});

test("only methods that nobody described are untyped", () => {
  const { plain, read } = methods();
  expect([plain, read].map((method) => isUntyped(method ?? expect.unreachable()))).toEqual([true, false]);
});

test("packages name services and versions; those without a version get the default", () => {
  expect(serviceNameOf("acme.shop.v2")).toEqual({ serviceId: "acme.shop", version: "v2" });
  expect(serviceNameOf("helloworld")).toEqual({ serviceId: "helloworld", version: "v1" });
  expect(serviceNameOf("routeguide.v1beta1", "v3")).toEqual({ serviceId: "routeguide.v1beta1", version: "v3" });
});
