import { create, fromJson, getOption, type JsonValue, toJson } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import { ffiOptions, registry, validate } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { contractDifferences } from "./contract-differences.ts";
import { isUntyped } from "./method-rule.ts";
import { contractOfSchemas, type SchemaContract } from "./schema-contract.ts";

function contractOf(inputSchema: unknown, previous?: SchemaContract): SchemaContract {
  const methods = [create(registry.MethodSchemaSchema, { name: "Get", inputSchema: JSON.stringify(inputSchema) })];
  return contractOfSchemas({ serviceId: "acme.shop", version: "v1", methods, previous: previous?.files });
}

const messageOf = ({ files }: SchemaContract, name = "GetRequest") =>
  files.getMessage(`acme.shop.v1.${name}`) ?? expect.unreachable(`no ${name}`);

const object = (properties: Record<string, unknown>, more: Record<string, unknown> = {}) => ({
  type: "object",
  properties,
  ...more,
});

function typesOf(contract: SchemaContract, name?: string): Record<string, string> {
  const fields = messageOf(contract, name).proto.field;
  return Object.fromEntries(fields.map(({ jsonName, type, typeName }) => [jsonName, typeName || String(type)]));
}

const numbersOf = (contract: SchemaContract, name?: string) =>
  Object.fromEntries(messageOf(contract, name).fields.map(({ jsonName, number }) => [jsonName, number]));

function violationsOf(work: () => unknown): string[] {
  try {
    work();
    return [];
  } catch (error) {
    return (error as { details: { fieldViolations: { field: string }[] } }).details.fieldViolations.map(
      ({ field }) => field,
    );
  }
}

const [DOUBLE, INT64, INT32, BOOL, STRING, BYTES, UINT32] = ["1", "3", "5", "8", "9", "12", "13"];

describe("JSON Schemas become messages", () => {
  test("each type of JSON becomes the type of protobuf that says it", () => {
    const contract = contractOf(
      object({
        name: { type: "string" },
        amount: { type: "number" },
        count: { type: "integer" },
        small: { type: "integer", minimum: 0, maximum: 100 },
        big: { type: "integer", minimum: 0, maximum: 4_000_000_000 },
        yes: { type: "boolean" },
        when: { type: "string", format: "date-time" },
        blob: { type: "string", contentEncoding: "base64" },
        maybe: { type: ["string", "null"] },
        state: { enum: ["open", "shut"] },
        odd: { enum: ["half-open", "shut"] },
        labels: { type: "object", additionalProperties: { type: "string" } },
        place: object({ street: { type: "string" } }),
        free: { type: "object" },
        any: {},
        two: { type: ["string", "number"] },
        rows: { type: "array", items: { type: "array", items: { type: "number" } } },
      }),
    );
    expect(typesOf(contract)).toEqual({
      name: STRING,
      amount: DOUBLE,
      count: INT64,
      small: INT32,
      big: UINT32,
      yes: BOOL,
      when: ".google.protobuf.Timestamp",
      blob: BYTES,
      maybe: STRING,
      state: ".acme.shop.v1.GetRequest.State",
      odd: STRING,
      labels: ".acme.shop.v1.GetRequest.LabelsEntry",
      place: ".acme.shop.v1.GetRequest.Place",
      free: ".google.protobuf.Struct",
      any: ".google.protobuf.Value",
      two: ".google.protobuf.Value",
      rows: ".google.protobuf.ListValue",
    });
    expect(contract.notes.map(({ subject }) => subject)).toEqual([
      "acme.shop.v1.GetRequest.rows",
      "acme.shop.v1.GetRequest.two",
    ]);
  });

  test("names in JSON are kept exactly, whatever they are in protobuf", () => {
    const properties = {
      userName: { type: "string" },
      user_name: { type: "string" },
      "x-id": { type: "string" },
      "9": { type: "string" },
      class: { type: "string" },
    };
    const message = messageOf(contractOf(object(properties)));
    const value = { userName: "a", user_name: "b", "x-id": "c", "9": "d", class: "e" };
    expect(toJson(message, fromJson(message, value))).toEqual(value);
  });

  test.each<[string, unknown, JsonValue]>([
    [
      "zero, false and empty are kept apart from absent",
      object({ n: { type: "number" }, b: { type: "boolean" }, s: { type: "string" } }),
      { n: 0, b: false, s: "" },
    ],
    [
      "enums travel by the names of the schema",
      object({ state: { enum: ["in_progress", "done"] } }),
      { state: "in_progress" },
    ],
    [
      "lists of objects",
      object({ items: { type: "array", items: object({ sku: { type: "string" } }) } }),
      { items: [{ sku: "a" }, {}] },
    ],
    [
      "maps of objects",
      object({ by: { type: "object", additionalProperties: object({ n: { type: "number" } }) } }),
      { by: { x: { n: 1 } } },
    ],
    [
      "maps of lists",
      object({ by: { type: "object", additionalProperties: { type: "array", items: { type: "number" } } } }),
      { by: { x: [1, 2] } },
    ],
    ["lists with nulls", object({ all: { type: "array", items: { type: ["number", "null"] } } }), { all: [1, null] }],
    [
      "unions that nothing tells apart",
      object({ v: { oneOf: [{ type: "string" }, object({ a: { type: "number" } })] } }),
      { v: { a: 1 } },
    ],
    [
      "tagged unions",
      object({
        shape: {
          oneOf: [
            object({ circle: { type: "number" } }, { required: ["circle"] }),
            object({ square: { type: "number" } }, { required: ["square"] }),
          ],
        },
      }),
      { shape: { square: 2 } },
    ],
    [
      "several schemas that all hold",
      { allOf: [object({ a: { type: "string" } }), object({ b: { type: "string" } })] },
      { a: "1", b: "2" },
    ],
    [
      "references",
      {
        $ref: "#/$defs/Tree",
        $defs: { Tree: object({ name: { type: "string" }, kids: { type: "array", items: { $ref: "#/$defs/Tree" } } }) },
      },
      { name: "a", kids: [{ name: "b", kids: [{}] }] },
    ],
  ])("values pass through unchanged: %s", (_, schema, value) => {
    const message = messageOf(contractOf(schema));
    expect(toJson(message, fromJson(message, value))).toEqual(value);
  });

  test("alternatives that ask for another property each become a oneof", () => {
    const schema = object(
      { id: { type: "string" }, email: { type: "string" }, note: { type: "string" } },
      { oneOf: [{ required: ["id"] }, { required: ["email"] }] },
    );
    const [oneof] = messageOf(contractOf(schema)).oneofs;
    expect(oneof?.fields.map(({ name }) => name)).toEqual(["email", "id"]);
    expect(oneof && getOption(oneof, validate.oneof).required).toBe(true);
  });

  test("what a type is told by reference is one type, and recursion ends", () => {
    const schema = {
      ...object({ from: { $ref: "#/$defs/Place" }, to: { $ref: "#/$defs/Place" } }),
      $defs: { Place: object({ near: { $ref: "#/$defs/Place" } }) },
    };
    expect(typesOf(contractOf(schema))).toEqual({
      from: ".acme.shop.v1.GetRequest.Place",
      to: ".acme.shop.v1.GetRequest.Place",
    });
  });
});

describe("restrictions become rules of buf.validate", () => {
  const ruleOf = (schema: unknown, more: Record<string, unknown> = {}) => {
    const [field] = messageOf(contractOf(object({ f: schema }, more))).fields;
    return getOption(field ?? expect.unreachable(), validate.field);
  };

  test.each([
    [
      { type: "string", minLength: 2, maxLength: 5, pattern: "^a+$" },
      { case: "string", value: { minLen: 2n, maxLen: 5n, pattern: "^a+$" } },
    ],
    [
      { type: "string", format: "email" },
      { case: "string", value: { wellKnown: { case: "email", value: true } } },
    ],
    [{ enum: ["half-open", "shut"] }, { case: "string", value: { in: ["half-open", "shut"] } }],
    [{ enum: ["open", "shut"] }, { case: "enum", value: { definedOnly: true, notIn: [0] } }],
    [
      { type: "integer", minimum: 1 },
      { case: "int64", value: { greaterThan: { case: "gte", value: 1n } } },
    ],
    [
      { type: "integer", minimum: 1, exclusiveMaximum: 10 },
      { case: "int32", value: { greaterThan: { case: "gte", value: 1 }, lessThan: { case: "lt", value: 10 } } },
    ],
    [
      { type: "number", exclusiveMinimum: 0.5 },
      { case: "double", value: { greaterThan: { case: "gt", value: 0.5 } } },
    ],
    [
      { type: "array", minItems: 1, uniqueItems: true, items: { type: "string", minLength: 1 } },
      {
        case: "repeated",
        value: { minItems: 1n, unique: true, items: { type: { case: "string", value: { minLen: 1n } } } },
      },
    ],
    [
      { type: "object", maxProperties: 3, additionalProperties: { type: "string", maxLength: 9 } },
      { case: "map", value: { maxPairs: 3n, values: { type: { case: "string", value: { maxLen: 9n } } } } },
    ],
  ])("%j", (schema, type) => {
    expect(ruleOf(schema).type).toMatchObject(type);
  });

  test("what is required must be there, though lists may be empty and what may be null absent", () => {
    expect(ruleOf({ type: "string" }, { required: ["f"] }).required).toBe(true);
    expect(ruleOf({ type: "array", items: {} }, { required: ["f"] }).required).toBe(false);
    expect(ruleOf({ type: ["string", "null"] }, { required: ["f"] }).required).toBe(false);
  });

  test("a list may be left out however many items it must have, unless it is required", () => {
    const list = { type: "array", minItems: 1, items: { type: "string" } };
    expect(ruleOf(list).ignore).toBe(validate.Ignore.IF_ZERO_VALUE);
    expect(ruleOf(list, { required: ["f"] }).ignore).toBe(validate.Ignore.UNSPECIFIED);
  });

  test("what no rule can say is told, not dropped in silence", () => {
    const contract = contractOf(
      object({ a: { type: "string", pattern: "(?=x)y" }, b: { type: "integer", multipleOf: 5 } }),
    );
    expect(contract.notes.map(({ text }) => text)).toEqual([
      "Nothing checks pattern of its schema.",
      "Nothing checks multipleOf of its schema.",
    ]);
  });
});

describe("numbers stay as they are", () => {
  const first = contractOf(object({ b: { type: "string" }, a: { type: "string" }, state: { enum: ["x", "y"] } }));

  test("first in the order of names, whatever the order of the schema", () => {
    expect(numbersOf(first)).toEqual({ a: 1, b: 2, state: 3 });
  });

  test("new properties get new numbers, removed ones are reserved, and nobody breaks", () => {
    const second = contractOf(
      object({ a0: { type: "string" }, b: { type: "string" }, state: { enum: ["w", "y"] } }),
      first,
    );
    expect(numbersOf(second)).toEqual({ b: 2, state: 3, a0: 4 });
    expect(messageOf(second).proto).toMatchObject({ reservedName: ["a"], reservedRange: [{ start: 1, end: 2 }] });
    const state = second.files.getEnum("acme.shop.v1.GetRequest.State");
    expect(state?.proto.value.map(({ name, number }) => [name, number])).toEqual([
      ["STATE_UNSPECIFIED", 0],
      ["y", 2],
      ["w", 3],
    ]);
    expect(contractDifferences(first.files, second.files).filter(({ severity }) => severity === "error")).toEqual([]);
    const third = contractOf(object({ c: { type: "string" } }), second);
    expect(numbersOf(third)).toEqual({ c: 5 });
    expect(messageOf(third).proto.reservedName).toEqual(["a", "b", "state", "a0"]);
  });

  test("a property of another type, or one that comes back, is a breaking change", () => {
    const rules = (after: SchemaContract, before = first) =>
      contractDifferences(before.files, after.files).map(({ rule }) => rule);
    const retyped = contractOf(
      object({ a: { type: "boolean" }, b: { type: "string" }, state: { enum: ["x", "y"] } }),
      first,
    );
    expect(rules(retyped)).toEqual(["FIELD_WIRE_JSON_COMPATIBLE_TYPE"]);
    const without = contractOf(object({ b: { type: "string" }, state: { enum: ["x", "y"] } }), first);
    const back = contractOf(
      object({ a: { type: "string" }, b: { type: "string" }, state: { enum: ["x", "y"] } }),
      without,
    );
    expect(rules(back, without)).toEqual(["RESERVED_MESSAGE_NO_DELETE"]);
  });

  test("wider bounds and values that are no names any more change no type that still fits", () => {
    const before = contractOf(object({ n: { type: "integer" }, s: { enum: ["a-b"] } }));
    const after = contractOf(object({ n: { type: "integer", minimum: 0, maximum: 9 }, s: { enum: ["a"] } }), before);
    expect(typesOf(after)).toEqual({ n: INT64, s: STRING });
  });
});

describe("methods", () => {
  test("without schemas take and answer any object", () => {
    const methods = [create(registry.MethodSchemaSchema, { name: "Do" })];
    const { files } = contractOfSchemas({ serviceId: "acme.shop", version: "v1", methods });
    const method = files.getService("acme.shop.v1.ShopService")?.methods[0];
    expect(method && isUntyped(method)).toBe(true);
  });

  test("keep streaming, idempotency and description", () => {
    const idempotency = ffiOptions.Idempotency.NO_SIDE_EFFECTS;
    const methods = [
      create(registry.MethodSchemaSchema, {
        name: "Watch",
        serverStreaming: true,
        idempotency,
        description: "Tells all.",
      }),
    ];
    const { files } = contractOfSchemas({ serviceId: "acme.shop", version: "v1", methods });
    const method = files.getService("acme.shop.v1.ShopService")?.methods[0];
    expect(method).toMatchObject({ methodKind: "server_streaming", idempotency: Level.NO_SIDE_EFFECTS });
    expect(method?.parent.file.proto.sourceCodeInfo?.location).toMatchObject([{ leadingComments: " Tells all.\n" }]);
  });

  test.each([
    [{ type: "array", items: {} }, "google.protobuf.ListValue"],
    [{ type: "string" }, "google.protobuf.StringValue"],
    [{ oneOf: [{ type: "string" }, { type: "number" }] }, "google.protobuf.Value"],
    [true, "google.protobuf.Struct"],
    [object({}), "acme.shop.v1.GetRequest"],
  ])("whose schema is %j take what says it", (schema, type) => {
    expect(contractOf(schema).files.getService("acme.shop.v1.ShopService")?.methods[0]?.input.typeName).toBe(type);
  });

  test("are refused with every problem of every schema, by its place", () => {
    const methods = [
      { name: "get" },
      { name: "Put", inputSchema: "{" },
      { name: "Put", outputSchema: JSON.stringify(object({ a: { $ref: "other.json" }, b: { $ref: "#/$defs/none" } })) },
    ].map((init) => create(registry.MethodSchemaSchema, init));
    const make = (chosen: typeof methods) => () =>
      contractOfSchemas({ serviceId: "a.b", version: "v1", methods: chosen });
    expect(violationsOf(make(methods))).toEqual(["method_schemas[0].name", "method_schemas[2].name"]);
    expect(violationsOf(make(methods.slice(1, 2)))).toEqual(["method_schemas[0].input_schema"]);
    expect(violationsOf(make(methods.slice(2)))).toEqual([
      "method_schemas[0].output_schema/properties/a",
      "method_schemas[0].output_schema/properties/b",
    ]);
  });

  test("with hostile schemas are refused or read, and never run away", () => {
    const nested = (depth: number): unknown => (depth === 0 ? { type: "string" } : object({ a: nested(depth - 1) }));
    expect(violationsOf(() => contractOf(nested(200)))).toHaveLength(1);
    expect(violationsOf(() => contractOf({ $ref: "#" }))).toHaveLength(1);
    expect(violationsOf(() => contractOf({ allOf: [{ $ref: "#" }] }))).toEqual([]);
    expect(violationsOf(() => contractOf({ type: "array", items: { $ref: "#" } }))).toEqual([]);
    expect(
      violationsOf(() =>
        contractOf(
          object({ a: { $ref: "#/$defs/A" } }, { $defs: { A: { $ref: "#/$defs/B" }, B: { $ref: "#/$defs/A" } } }),
        ),
      ),
    ).toHaveLength(1);
    const many = Object.fromEntries(Array.from({ length: 6000 }, (_, index) => [`p${index}`, {}]));
    expect(violationsOf(() => contractOf(object(many)))).toHaveLength(1);
    const methods = [create(registry.MethodSchemaSchema, { name: "Get", inputSchema: "[".repeat(100_000) })];
    expect(violationsOf(() => contractOfSchemas({ serviceId: "a", version: "v1", methods }))).toHaveLength(1);
    const proto = [
      create(registry.MethodSchemaSchema, { name: "Get", inputSchema: '{"properties":{"__proto__":{}}}' }),
    ];
    expect(violationsOf(() => contractOfSchemas({ serviceId: "a", version: "v1", methods: proto }))).toHaveLength(1);
  });
});
