import { create, createFileRegistry, type DescField, type DescMessage, ScalarType, toBinary } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect, reflectList, reflectMap } from "@bufbuild/protobuf/reflect";
import {
  FeatureSet_FieldPresence,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  file_google_protobuf_descriptor,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { audit, registry } from "@hms/contracts";
import { expect, test } from "vitest";
import { encodeQuickly } from "./message-encoder.ts";

const wkt = [file_google_protobuf_struct, file_google_protobuf_timestamp, file_google_protobuf_wrappers];
const scalars = Object.values(Type).filter((type) => typeof type === "number" && type !== Type.GROUP) as Type[];
const typed = (type: Type) => {
  if (type === Type.ENUM) return { type, typeName: ".t.v1.Color" };
  return type === Type.MESSAGE ? { type, typeName: ".t.v1.All" } : { type };
};

/** A message with a field of each type, alone, optional, in a oneof, in a list and in maps. */
const files = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "all.proto",
    package: "t.v1",
    syntax: "proto3",
    dependency: wkt.map(({ proto }) => proto.name),
    enumType: [
      {
        name: "Color",
        value: ["NONE", "RED", "FAR"].map((name, n) => ({ name: `COLOR_${name}`, number: n * n * 100 })),
      },
    ],
    messageType: [
      {
        name: "All",
        oneofDecl: [{ name: "choice" }, ...scalars.map((type) => ({ name: `_optional${type}` }))],
        nestedType: scalars.map((type) => ({
          name: `Map${type}Entry`,
          options: { mapEntry: true },
          field: [
            { name: "key", number: 1, type: Type.STRING, label: Label.OPTIONAL },
            { name: "value", number: 2, label: Label.OPTIONAL, ...typed(type) },
          ],
        })),
        field: [
          ...scalars.flatMap((type, n) => [
            { name: `single${type}`, number: 1 + n, label: Label.OPTIONAL, ...typed(type) },
            { name: `chosen${type}`, number: 101 + n, label: Label.OPTIONAL, oneofIndex: 0, ...typed(type) },
            { name: `list${type}`, number: 201 + n, label: Label.REPEATED, ...typed(type) },
            {
              name: `map${type}`,
              number: 301 + n,
              label: Label.REPEATED,
              type: Type.MESSAGE,
              typeName: `.t.v1.All.Map${type}Entry`,
            },
            ...(type === Type.MESSAGE
              ? []
              : [
                  {
                    name: `optional${type}`,
                    number: 401 + n,
                    label: Label.OPTIONAL,
                    oneofIndex: 1 + n,
                    proto3Optional: true,
                    ...typed(type),
                  },
                ]),
          ]),
          ...["Timestamp", "Struct", "Value", "Int64Value"].map((name, n) => ({
            name: `known${name}`,
            number: 501 + n,
            label: Label.OPTIONAL,
            type: Type.MESSAGE,
            typeName: `.google.protobuf.${name}`,
          })),
        ].map((field) => create(FieldDescriptorProtoSchema, field)),
      },
    ],
  }),
  (name) => wkt.find(({ proto }) => proto.name === name),
);
const All = files.getMessage("t.v1.All") as DescMessage;

/** Numbers in a row that is always the same for a seed (mulberry32). */
function drawing(seed: number) {
  let state = seed;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const below = (most: number) => Math.floor(next() * most);
  return { next, below, of: <T>(values: readonly T[]): T => values[below(values.length)] as T };
}
type Draw = ReturnType<typeof drawing>;

const TEXTS = [
  "",
  "a",
  "hms.cdf.debate",
  "é",
  "\ufffd",
  "\ufeffx",
  "日本".repeat(30),
  "x".repeat(127),
  "y".repeat(128),
  "z".repeat(20_000),
];
const LONGS = [0n, 1n, 127n, 128n, 1_790_000_000n, 0xffffffffn, 0x100000000n, 2n ** 49n, 2n ** 53n, 2n ** 63n - 1n];

function scalar(type: ScalarType, draw: Draw): unknown {
  switch (type) {
    case ScalarType.STRING:
      return draw.of(TEXTS);
    case ScalarType.BOOL:
      return draw.next() < 0.5;
    case ScalarType.BYTES:
      return new Uint8Array(draw.below(3) * 90).fill(draw.below(256));
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return draw.of([0, -0, 1.5, Number.NaN, Number.POSITIVE_INFINITY]);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return draw.of([...LONGS, -1n, -(2n ** 63n)]);
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return draw.of([...LONGS, 2n ** 64n - 1n]);
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return draw.of([0, 1, 127, 128, 0xffffffff]);
    default:
      return draw.of([0, 1, 127, 128, 0x7fffffff, -1, -0x80000000]);
  }
}

function value(field: DescField, draw: Draw, depth: number): unknown {
  if (field.message) return filled(field.message, draw, depth + 1);
  const { enum: desc } = field;
  if (desc === undefined) return scalar(field.scalar as ScalarType, draw);
  return draw.of([...desc.values.map((one) => one.number), ...(desc.open ? [77, -7] : [])]);
}

/** What a field is set to. */
function content(field: DescField, draw: Draw, depth: number): unknown {
  if (field.fieldKind !== "list" && field.fieldKind !== "map") return value(field, draw, depth);
  const many = Array.from({ length: draw.below(4) }, () => value(field, draw, depth));
  if (field.fieldKind === "list") {
    const list = reflectList(field);
    for (const one of many) list.add(one as never);
    return list;
  }
  const map = reflectMap(field);
  for (const one of many) map.set(draw.of([...TEXTS.slice(0, 6), "__proto__"]), one as never);
  return map;
}

/** A message with some of its fields set. */
function filled(desc: DescMessage, draw: Draw, depth = 0): ReflectMessage {
  const message = reflect(desc);
  for (const field of desc.fields) {
    const required = field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED;
    if ((depth > 3 && !required) || (field.fieldKind === "map" && field.mapKey !== ScalarType.STRING)) continue;
    if (required || draw.next() < (desc === All ? 0.03 : 0.2)) message.set(field, content(field, draw, depth) as never);
  }
  return message;
}

const messages: DescMessage[] = [
  All,
  ...[registry.RegistryService, audit.AuditService].flatMap(({ file }) => file.messages),
  ...file_google_protobuf_descriptor.messages,
];

test.each(messages.map((desc) => ({ name: desc.typeName, desc })))(
  "$name is written as the library does it, or left to it",
  ({ desc }) => {
    const draw = drawing(20_261_127);
    let written = 0;
    for (let n = 0; n < (desc === All ? 6_000 : 50); n += 1) {
      const { message } = filled(desc, draw);
      const bytes = encodeQuickly(desc, message);
      if (bytes === undefined) continue;
      written += 1;
      expect(bytes.toString("hex")).toBe(Buffer.from(toBinary(desc, message)).toString("hex"));
    }
    if (desc === All) expect(written).toBeGreaterThan(500);
  },
);

test("what is ordinary needs no library", () => {
  const instance = { instanceId: "a", address: "unix:/a", leaseExpiresAt: { seconds: 1_790_000_000n, nanos: 5 } };
  const metadata = { language: "python", "": "é" };
  const service = { serviceId: "hms.a", metadata, hasContract: true, instances: [instance, instance, instance] };
  const message = create(registry.LookupResponseSchema, { service });
  const bytes = encodeQuickly(registry.LookupResponseSchema, message);
  expect(bytes).toEqual(Buffer.from(toBinary(registry.LookupResponseSchema, message)));
});

test.each([10, 10_000, 100_000])("a list of %d messages takes the room that it needs", (length) => {
  const instance = create(registry.ServiceInstanceSchema, { instanceId: "a-b-c", address: "unix:/a" });
  const text = "é".repeat(3 * length);
  const message = create(registry.ServiceEntrySchema, {
    serviceId: text,
    metadata: { text },
    instances: Array.from({ length }, () => instance),
  });
  const bytes = encodeQuickly(registry.ServiceEntrySchema, message);
  expect(bytes?.equals(toBinary(registry.ServiceEntrySchema, message))).toBe(true);
  // What comes after is written where it always is.
  expect(encodeQuickly(registry.ServiceInstanceSchema, instance)).toEqual(
    Buffer.from(toBinary(registry.ServiceInstanceSchema, instance)),
  );
});

test("what the library refuses or changes is left to it", () => {
  const service = (fields: object) =>
    encodeQuickly(registry.ServiceEntrySchema, {
      ...create(registry.ServiceEntrySchema),
      ...fields,
    });
  expect(service({ serviceId: "\ud800" })).toBeUndefined();
  expect(service({ serviceId: 5 })).toBeUndefined();
  expect(service({ hasContract: "yes" })).toBeUndefined();
  expect(service({ instances: [{}] })).toBeUndefined();
  expect(service({ serviceId: "x".repeat(5_000_000) })).toBeUndefined();
  expect(service({ $unknown: [] })).toBeUndefined();
  expect(service({})).toEqual(Buffer.alloc(0));
});
