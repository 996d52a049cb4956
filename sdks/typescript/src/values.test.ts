import { create, createFileRegistry, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  AnySchema,
  DurationSchema,
  FileDescriptorProtoSchema,
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
  FieldDescriptorProto_Label as Label,
  StructSchema,
  TimestampSchema,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { checkedMessage } from "./checked-message.ts";
import { messageValue } from "./message-value.ts";
import { plainValue } from "./plain-value.ts";
import { decodedValue, quickValue } from "./value-decoder.ts";
import { encodedValue } from "./value-encoder.ts";

const wkt = [
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
];

let number = 0;
const field = (name: string, type: Type, more: object = {}) => {
  number += 1;
  return { name, number, type, label: Label.OPTIONAL, ...more };
};
const message = (name: string, typeName: string, more: object = {}) => field(name, Type.MESSAGE, { typeName, ...more });

const files = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "all.proto",
    package: "t.v1",
    syntax: "proto3",
    dependency: wkt.map(({ proto }) => proto.name),
    enumType: [
      {
        name: "Color",
        value: [
          { name: "COLOR_UNSPECIFIED", number: 0 },
          { name: "COLOR_RED", number: 1 },
        ],
      },
    ],
    messageType: [
      {
        name: "All",
        oneofDecl: [{ name: "choice" }, { name: "_maybe" }],
        nestedType: [
          {
            name: "CountsEntry",
            options: { mapEntry: true },
            field: [
              { name: "key", number: 1, type: Type.STRING, label: Label.OPTIONAL },
              { name: "value", number: 2, type: Type.INT64, label: Label.OPTIONAL },
            ],
          },
        ],
        field: [
          field("a_text", Type.STRING),
          field("flag", Type.BOOL),
          field("small", Type.INT32),
          field("big", Type.INT64),
          field("huge", Type.UINT64),
          field("ratio", Type.DOUBLE),
          field("blob", Type.BYTES),
          field("color", Type.ENUM, { typeName: ".t.v1.Color" }),
          field("texts", Type.STRING, { label: Label.REPEATED }),
          message("counts", ".t.v1.All.CountsEntry", { label: Label.REPEATED }),
          message("inner", ".t.v1.All"),
          message("at", ".google.protobuf.Timestamp"),
          message("took", ".google.protobuf.Duration"),
          message("any_object", ".google.protobuf.Struct"),
          message("any_value", ".google.protobuf.Value"),
          message("wrapped", ".google.protobuf.Int64Value"),
          message("held", ".google.protobuf.Any"),
          field("left", Type.STRING, { oneofIndex: 0 }),
          field("right", Type.INT32, { oneofIndex: 0 }),
          field("maybe", Type.INT32, { oneofIndex: 1, proto3Optional: true }),
        ],
      },
    ],
  }),
  (name) => wkt.find(({ proto }) => proto.name === name),
);
const All = files.getMessage("t.v1.All") as DescMessage;

/** What the quick way reads must be what the patient one reads. */
function read(bytes: Uint8Array): unknown {
  const patient = plainValue(All, fromBinary(All, bytes), files);
  expect(decodedValue(All, bytes, files)).toEqual(patient);
  return patient;
}

/** There and back again, over the wire. */
function round(value: object): unknown {
  const bytes = toBinary(All, messageValue(All, value, files) as never);
  return read(bytes);
}

const NOTHING = {
  aText: "",
  flag: false,
  small: 0,
  big: 0n,
  huge: 0n,
  ratio: 0,
  blob: new Uint8Array(),
  color: "COLOR_UNSPECIFIED",
  texts: [],
  counts: {},
};

const EVERYTHING = {
  aText: "é",
  flag: true,
  small: -5,
  big: 9_007_199_254_740_993n,
  huge: 18_446_744_073_709_551_615n,
  ratio: 1.5,
  blob: new Uint8Array([0, 255]),
  color: "COLOR_RED",
  texts: ["a", ""],
  counts: { a: -1n },
  inner: { ...NOTHING, aText: "deeper" },
  at: new Date("2026-01-31T12:00:00.123Z"),
  took: 1_500.25,
  anyObject: { a: [1, null, { b: "c" }] },
  anyValue: null,
  wrapped: 0n,
  held: { "@type": "type.googleapis.com/t.v1.All", ...NOTHING, aText: "held" },
  right: 0,
  maybe: 0,
};

describe("values of the language", () => {
  test("survive the way to a message and back, each in its own type", () => {
    expect(round(EVERYTHING)).toEqual(EVERYTHING);
  });

  test("that are absent stay absent where that can be told from zero", () => {
    expect(round({})).toEqual(NOTHING);
    expect(round({ inner: null, maybe: undefined, aText: null })).toEqual(NOTHING);
  });

  test("may be NaN and infinite", () => {
    expect(round({ ratio: Number.NaN })).toMatchObject({ ratio: Number.NaN });
    expect(round({ ratio: "-Infinity" })).toMatchObject({ ratio: Number.NEGATIVE_INFINITY });
  });

  test("are taken in other forms too: snake case, numbers for 64 bits, maps, texts for times, enums by number", () => {
    const value = {
      a_text: "x",
      big: 7,
      huge: "8",
      counts: new Map([["a", 1]]),
      at: "2026-01-31T12:00:00Z",
      took: "1.5s",
      color: 1,
      texts: new Set(["a"]),
    };
    expect(round(value)).toEqual({
      ...NOTHING,
      aText: "x",
      big: 7n,
      huge: 8n,
      counts: { a: 1n },
      at: new Date("2026-01-31T12:00:00Z"),
      took: 1_500,
      color: "COLOR_RED",
      texts: ["a"],
    });
  });

  test("that do not fit are refused all together, each with its place and what fits", () => {
    const value = {
      aTxt: "x",
      flag: "yes",
      small: 2 ** 31,
      big: 1.5,
      blob: "bytes",
      color: "COLOR_RAD",
      texts: "a",
      inner: { inner: { small: "1" } },
      left: "a",
      right: 1,
      held: { "@type": "t.v1.Nothing" },
    };
    let violations: readonly { field: string; description: string }[] = [];
    try {
      messageValue(All, value, files);
    } catch (error) {
      violations = (error as { details: { fieldViolations: typeof violations } }).details.fieldViolations;
    }
    expect(violations.map(({ field: name }) => name)).toEqual([
      "aTxt",
      "flag",
      "small",
      "big",
      "blob",
      "color",
      "texts",
      "inner.inner.small",
      "right",
      "held.@type",
    ]);
    expect(violations[0]?.description).toBe("is no field of All; did you mean aText?");
    expect(violations[5]?.description).toBe('"COLOR_RAD" is no Color; did you mean COLOR_RED?');
  });

  test("that JSON has no words for are refused in words too", () => {
    const endless: Record<string, unknown> = {};
    endless.a = endless;
    expect(() => messageValue(All, { wrapped: { a: 1n } }, files)).toThrow('{"a":"1n"} does not fit');
    expect(() => messageValue(All, { aText: endless }, files)).toThrow(/something endless does not fit/);
  });

  test("that lie too deep are refused", () => {
    let deep: object = {};
    for (let i = 0; i < 200; i += 1) deep = { inner: deep };
    expect(() => messageValue(All, deep, files)).toThrow(/more than 100 deep/);
  });
});

/** Whatever somebody may give for a field. */
const GIVEN: readonly unknown[] = [
  ...["", "x", "é", "\ud800", "5", "-5", "NaN", "COLOR_RED", "RED", "1.5s", "2026-01-31T12:00:00Z"],
  ...[0, -0, 1, -1, 1.5, 2 ** 31, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, 0n, -1n, 2n ** 63n, 2n ** 64n],
  ...[null, undefined, true, false, [], ["a"], [null], {}, { a: 1 }, { a: 1n }, { a: undefined }, { a: "x" }],
  ...[new Date(5), new Date(Number.NaN), new Uint8Array([1]), new Map([["a", 1n]]), new Set(["a"]), () => {}],
  ...[{ aText: "x" }, { a_text: "x", inner: {} }, { unknown: 1 }, { left: "a", right: 1 }, { ["__proto__"]: 1n }],
  ...[{ $typeName: "t.v1.All" }, { $typeName: "t.v1.Other" }, { "@type": "t.v1.All", aText: "x" }, create(All)],
];

test("the quick way writes the same of a value as the patient one, or leaves it to that", () => {
  const outcomes = { same: 0, left: 0 };
  const fields = All.fields.map(({ localName }) => localName);
  for (const name of [...fields, "a_text", "nobody"]) {
    for (const one of GIVEN) {
      for (const other of [{}, { right: 1 }, { flag: true, inner: { [name]: one } }]) {
        const value = { ...other, [name]: one };
        const made = encodedValue(All, value, files);
        if (made === undefined) outcomes.left += 1;
        else {
          outcomes.same += 1;
          const patient = checkedMessage(All, value, files);
          const bytes = new Uint8Array(made.bytes);
          expect(fromBinary(All, bytes)).toStrictEqual(fromBinary(All, toBinary(All, patient as never)));
        }
      }
    }
  }
  expect(Math.min(outcomes.same, outcomes.left)).toBeGreaterThan(500);
});

/** Numbers in a row that is always the same for a seed (mulberry32). */
function drawing(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296) * below);
  };
}

const settled = (work: () => unknown): unknown => {
  try {
    return { value: work() };
  } catch {
    return "refused";
  }
};

test("the quick way reads bytes as the patient one does, or leaves them to that, also where they are broken", () => {
  const draw = drawing(20);
  const start = toBinary(All, messageValue(All, EVERYTHING, files) as never);
  const outcomes = { read: 0, left: 0, refused: 0 };
  for (let n = 0; n < 20_000; n += 1) {
    const bytes = Buffer.concat([start, start.subarray(draw(start.length))]).subarray(0, draw(2 * start.length));
    for (let flips = draw(4); flips > 0; flips -= 1) bytes[draw(bytes.length || 1)] = draw(256);
    const patient = settled(() => plainValue(All, fromBinary(All, new Uint8Array(bytes)), files));
    const quick = settled(() => quickValue(All, bytes, files));
    const left = typeof quick === "object" && (quick as { value: unknown }).value === undefined;
    if (left) outcomes.left += 1;
    else expect(quick).toEqual(patient);
    outcomes[patient === "refused" ? "refused" : "read"] += 1;
  }
  expect(Math.min(...Object.values(outcomes))).toBeGreaterThan(500);
  expect(outcomes.left).toBeLessThan(outcomes.refused + outcomes.read / 2);
});

describe("messages that stand for something else", () => {
  test("are that, on their own too", () => {
    const plain = (desc: DescMessage, value: unknown) => plainValue(desc, messageValue(desc, value, files), files);
    expect(plain(TimestampSchema, new Date(0))).toEqual(new Date(0));
    expect(plain(DurationSchema, -1.5)).toBe(-1.5);
    expect(plain(DurationSchema, 4_999.123_456_7)).toBeCloseTo(4_999.123_457, 6);
    expect(plain(TimestampSchema, new Date(-1))).toEqual(new Date(-1));
    const precise = messageValue(TimestampSchema, "2026-11-20T12:34:56.123456789Z", files);
    const kept = messageValue(TimestampSchema, plainValue(TimestampSchema, precise, files), files);
    expect(kept).toMatchObject({ nanos: 123_456_789 });
    expect(plain(StructSchema, { a: { b: [true] } })).toEqual({ a: { b: [true] } });
  });

  test("of types that nobody knows here keep their bytes", () => {
    const value = { "@type": "type.googleapis.com/x.Y", value: new Uint8Array([1]) };
    expect(plainValue(AnySchema, messageValue(AnySchema, value, files), files)).toEqual(value);
  });

  test("may be given as they are", () => {
    const given = create(StructSchema, { fields: {} });
    expect(messageValue(StructSchema, given, files)).toBe(given);
  });
});
