import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AnySchema, FileDescriptorSetSchema, StructSchema } from "@bufbuild/protobuf/wkt";
import { registry } from "@hms/contracts";
import { expect, test } from "vitest";
import { redactedRequest } from "./redacted-request.ts";

const STRING = 9;
const MESSAGE = 11;

/** message Login { string user; string password; string pin [debug_redact]; Login inner; repeated Login all; } */
function login() {
  const field = (name: string, number: number, more: object = {}) => ({
    name,
    jsonName: name,
    number,
    label: 1,
    type: STRING,
    ...more,
  });
  const inner = { type: MESSAGE, typeName: ".t.Login" };
  const file = {
    name: "t.proto",
    package: "t",
    syntax: "proto3",
    messageType: [
      {
        name: "Login",
        field: [
          field("user", 1),
          field("password", 2),
          field("pin", 3, { options: { debugRedact: true } }),
          field("inner", 4, inner),
          field("all", 5, { ...inner, label: 3 }),
          field("page_token", 6),
        ],
      },
    ],
  };
  const set = create(FileDescriptorSetSchema, { file: [file as never] });
  const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, toBinary(FileDescriptorSetSchema, set)));
  const desc = files.getMessage("t.Login");
  if (desc === undefined) throw new Error("no t.Login");
  return desc;
}

test("what a contract marks, and what is named like a secret, is redacted at every depth", () => {
  const desc = login();
  const one = { user: "anna", password: "p", pin: "1", pageToken: "next" };
  const redacted = redactedRequest(desc, create(desc, { ...one, inner: one, all: [one] } as never));
  const safe = { user: "anna", password: "[redacted]", pin: "[redacted]", page_token: "next" };
  expect(redacted).toEqual({ ...safe, inner: safe, all: [safe] });
});

test("objects without a contract are redacted by their names", () => {
  const text = (stringValue: string) => ({ kind: { case: "stringValue" as const, value: stringValue } });
  const message = create(StructSchema, { fields: { apiKey: text("k"), name: text("n") } });
  expect(redactedRequest(StructSchema, message)).toEqual({ apiKey: "[redacted]", name: "n" });
});

test("labels keep what is no secret", () => {
  const message = create(registry.RegisterRequestSchema, {
    serviceId: "hms.a",
    metadata: { team: "a", password: "p" },
  });
  expect(redactedRequest(registry.RegisterRequestSchema, message)).toMatchObject({
    serviceId: "hms.a",
    metadata: { team: "a", password: "[redacted]" },
  });
});

test("a request that cannot be written as JSON tells its type, and nothing fails", () => {
  const any = create(AnySchema, { typeUrl: "type.googleapis.com/t.Unknown", value: new Uint8Array([8, 1]) });
  expect(redactedRequest(AnySchema, any)).toEqual({ "@type": "google.protobuf.Any", "@content": "[redacted]" });
});
