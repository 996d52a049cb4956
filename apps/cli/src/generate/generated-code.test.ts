import { create } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { readContract, writeDescriptorSet } from "@hms/descriptors";
import { describe, expect, test } from "vitest";
import { contractCode } from "./contract-code.ts";
import { pythonCode } from "./python-code.ts";
import { baseName, snakeName, TypeNames } from "./type-names.ts";
import { typescriptCode } from "./typescript-code.ts";

const STRING = 9;
const MESSAGE = 11;
const field = (name: string, type: number, typeName = "") => ({
  name,
  jsonName: name,
  number: 1,
  label: 1,
  type,
  typeName,
});
const method = (name: string) => ({ name, inputType: ".a.b.v1.Promise", outputType: ".a.b.v1.Promise" });

/** Two services, a message that is called as something of the language, and two that are called the same. */
function code() {
  const shared = {
    name: "shared.proto",
    package: "shared.v1",
    syntax: "proto3",
    messageType: [{ name: "Line", field: [field("text", STRING)] }],
  };
  const file = {
    name: "a.proto",
    package: "a.b.v1",
    syntax: "proto3",
    dependency: ["shared.proto"],
    messageType: [
      { name: "Promise", field: [field("line", MESSAGE, ".a.b.v1.Line")] },
      { name: "Line", field: [field("str", MESSAGE, ".shared.v1.Line")] },
    ],
    service: [
      { name: "FirstService", method: [method("Get")] },
      { name: "Second", method: [method("Get"), method("HTTPGet")] },
    ],
  };
  const bytes = writeDescriptorSet(create(FileDescriptorSetSchema, { file: [shared, file] as never }));
  const reading = readContract(bytes, "a.b.v1");
  if ("problem" in reading) throw new Error(reading.problem);
  return contractCode({ serviceId: "a.b", version: "v1" }, reading.contract);
}

describe("a contract with several services and names that clash", () => {
  test("becomes TypeScript with names that are each used once", () => {
    const text = typescriptCode(code());
    expect(text).toContain("export interface Promise_ {");
    expect(text).toContain("export interface Line {\n  str?: SharedV1Line;\n}");
    expect(text).toContain("export class FirstClient ");
    expect(text).toContain("export class SecondClient ");
    expect(text).toContain('this.#client.call<Promise_>("Second/HTTPGet", request, options)');
    expect(text).toContain("implementation: { FirstService: FirstService; Second: SecondService },");
    expect(text).toContain("export function serveB(");
    expect(text).toContain(
      '"FirstService/Get": (request: never, call: ffi.CallContext) => implementation.FirstService.get(request, call),',
    );
  });

  test("becomes Python with names that are each used once", () => {
    const text = pythonCode(code());
    expect(text).toContain("class SharedV1Line(TypedDict):");
    // A field of this name in a class would hide the type from those that follow.
    expect(text).toContain('"str": "Optional[SharedV1Line]",');
    expect(text).toContain('own: Dict[str, Any] = dict(version="v1", contract=CONTRACT, service="Second")');
    expect(text).toContain('@service("a.b", version="v1", name="FirstService", contract=CONTRACT)');
    expect(text).toMatch(/@method\(name="HTTPGet"\)\n {4}def http_get\(/);
  });
});

test.each([
  ["GetPrice", "get_price"],
  ["HTTPGet", "http_get"],
  ["GetURL", "get_url"],
  ["Get2D", "get2_d"],
])("%s is %s in Python", (name, snake) => expect(snakeName(name)).toBe(snake));

test("names keep clear of each other, of the language, and of what is made from them", () => {
  const names = new TypeNames(["Client"]);
  expect([names.take("Client"), names.take("Client"), baseName("Service")]).toEqual(["Client_", "Client__", "Service"]);
});
