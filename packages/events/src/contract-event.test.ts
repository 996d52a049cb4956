import { create } from "@bufbuild/protobuf";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { cloudEventProblems } from "./cloud-event.ts";
import { contractEvent, contractMessage } from "./contract-event.ts";

describe("an event of a contract", () => {
  const event = contractEvent(
    DurationSchema,
    { seconds: 7n },
    { type: "test.waited", source: "/test", partitionkey: "one" },
  );

  test("names the message in dataschema and carries it as bytes", () => {
    expect(event).toMatchObject({
      type: "test.waited",
      dataschema: "hms-contract:google.protobuf.Duration",
      datacontenttype: "application/protobuf",
      partitionkey: "one",
    });
    expect(cloudEventProblems(event)).toEqual([]);
    expect(contractMessage(DurationSchema, event)).toEqual(create(DurationSchema, { seconds: 7n }));
  });

  test("is not read as another message", () => {
    const refused = expect.objectContaining({ code: "FAILED_PRECONDITION", details: { reason: "OTHER_CONTRACT" } });
    expect(() => contractMessage(TimestampSchema, event)).toThrow(refused);
  });
});
