import { create, toBinary } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { FieldReader, MalformedError, varintBytes, writeVarint } from "./field-reader.ts";

function fieldsOf(bytes: Uint8Array): [number, number, string][] {
  const reader = new FieldReader().reset(bytes, 0, bytes.length);
  const found: [number, number, string][] = [];
  while (reader.next()) {
    found.push([reader.field, reader.value, Buffer.from(bytes.subarray(reader.from, reader.to)).toString()]);
  }
  return found;
}

describe("a field reader", () => {
  test("finds the fields that protobuf wrote", () => {
    const message = create(registry.ListRequestSchema, { pattern: "ä*", environment: "prod", pageSize: 300 });
    expect(fieldsOf(toBinary(registry.ListRequestSchema, message))).toEqual([
      [1, 0, "ä*"],
      [2, 0, "prod"],
      [4, 300, ""],
    ]);
  });

  test("reads back every number that is written, up to 2^53", () => {
    const numbers = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 48 + 5, 2 ** 53 - 1];
    for (const number of numbers) {
      const bytes = Buffer.alloc(1 + varintBytes(number));
      bytes[0] = 0x08;
      expect(writeVarint(bytes, 1, number)).toBe(bytes.length);
      expect(fieldsOf(bytes)).toEqual([[1, number, ""]]);
    }
  });

  test("skips fixed-width fields and takes field numbers of five bytes", () => {
    const bytes = Buffer.from("0d00000000110000000000000000" + "faffffff0f0141", "hex");
    expect(fieldsOf(bytes).map(([field]) => field)).toEqual([1, 2, 2 ** 29 - 1]);
  });

  test.each([
    ["a cut-off length", "0a05414243"],
    ["a cut-off number", "0880"],
    ["a number without end", "08ffffffffffffffffffff01"],
    ["field number 0", "0001"],
    ["a group", "0b0c"],
    ["a length beyond everything", "0affffffffffffffffff01"],
    ["a cut-off tag", "80"],
  ])("refuses %s", (_, hex) => {
    expect(() => fieldsOf(Buffer.from(hex, "hex"))).toThrow(MalformedError);
  });
});
