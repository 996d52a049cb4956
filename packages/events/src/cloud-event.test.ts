import { describe, expect, test } from "vitest";
import { type CloudEvent, cloudEventProblems } from "./cloud-event.ts";
import { cloudEventFromJson, cloudEventsFromJson, cloudEventToJson } from "./cloud-event-json.ts";

/** The cases of the specification's own conformance tests for the JSON format (cloudevents/conformance), by their names. */
const minimal = { specversion: "1.0", id: "minimal", type: "io.cloudevents.test", source: "https://cloudevents.io" };
const core = {
  ...minimal,
  datacontenttype: "text/plain",
  dataschema: "https://cloudevents.io/dataschema",
  subject: "tests",
  time: "2018-04-05T17:31:00Z",
};
const extensions = {
  ...minimal,
  extinteger: 10,
  extboolean: true,
  extstring: "text",
  exturi: "https://cloudevents.io",
  exturiref: "//authority/path",
  exttimestamp: "2023-03-31T15:12:00Z",
  extbinary: "TWE=",
};
const without = (name: keyof typeof minimal) =>
  Object.fromEntries(Object.entries(minimal).filter(([key]) => key !== name));

const VALID: Record<string, object> = {
  validMinimal: minimal,
  validMinimalWithNullForOptional: { ...minimal, datacontenttype: null, dataschema: null, subject: null, time: null },
  validAllCoreAttributes: core,
  validMinimalWithTimeUtc: { ...minimal, time: "2018-04-05T17:31:00Z" },
  validMinimalWithTimeToNanosecondsUtc: { ...minimal, time: "2018-04-05T17:31:00.000000000Z" },
  validMinimalWithTimeUsingPositiveOffset: { ...minimal, time: "2018-04-05T18:31:00+01:00" },
  validMinimalWithTimeUsingNegativeOffset: { ...minimal, time: "2018-04-05T16:31:00-01:00" },
  validRelativeSource: { ...minimal, source: "#fragment" },
  validSimpleTextData: { ...minimal, datacontenttype: "text/plain", data: "Simple text" },
  validAllExtensionTypes: extensions,
  validExtensionNamedAsEveryObjectHasOne: { ...minimal, constructor: "x" },
};

const INVALID: Record<string, [object, string]> = {
  invalidNameOfNoAttribute: [{ ...minimal, ["__proto__"]: "x" }, "__proto__"],
  invalidNoSpecVersion: [without("specversion"), "specversion"],
  invalidNoId: [without("id"), "id"],
  invalidNoType: [without("type"), "type"],
  invalidNoSource: [without("source"), "source"],
  invalidTimeGarbage: [{ ...minimal, time: "lunchtime" }, "time"],
  invalidTimeToMinute: [{ ...minimal, time: "2018-04-05T18:31Z" }, "time"],
  invalidTimeOffsetX: [{ ...minimal, time: "2018-04-05T18:31:00X" }, "time"],
  invalidTimeOffsetOutOfRange: [{ ...minimal, time: "2018-04-05T18:31:00+25:00" }, "time"],
  invalidTimeOffsetNonInteger: [{ ...minimal, time: "2018-04-05T18:31:00+xx:00" }, "time"],
  invalidTimeOffsetHourOnly: [{ ...minimal, time: "2018-04-05T18:31:00+05" }, "time"],
  invalidEmptyId: [{ ...minimal, id: "" }, "id"],
  invalidEmptyType: [{ ...minimal, type: "" }, "type"],
  invalidEmptySource: [{ ...minimal, source: "" }, "source"],
  invalidEmptySpecVersion: [{ ...minimal, specversion: "" }, "specversion"],
  invalidUnknownSpecVersion: [{ ...minimal, specversion: "0.9" }, "specversion"],
  invalidNonRfc2046DataContentType: [{ ...minimal, datacontenttype: "xyz" }, "datacontenttype"],
  invalidEmptyDataContentType: [{ ...minimal, datacontenttype: "" }, "datacontenttype"],
  invalidEmptyDataSchema: [{ ...minimal, dataschema: "" }, "dataschema"],
  invalidEmptySubject: [{ ...minimal, subject: "" }, "subject"],
  invalidNumericId: [{ ...minimal, id: 25 }, "id"],
  invalidObjectId: [{ ...minimal, id: { xyz: "abc" } }, "id"],
  invalidCapitalizedExtension: [{ ...minimal, MyExtension: "bad" }, "MyExtension"],
  invalidPunctuatedExtension: [{ ...minimal, "my.extension": "bad" }, "my.extension"],
  invalidNonIntegerExtensionValue: [{ ...minimal, myextension: 1.5 }, "myextension"],
  invalidBothDataAndDataBase64: [{ ...minimal, data: "text", data_base64: "eyAieHl6IjogMTIzIH0=" }, "data"],
  "a day that does not exist": [{ ...minimal, time: "2018-02-29T18:31:00Z" }, "time"],
  "a relative dataschema": [{ ...minimal, dataschema: "just/a/path" }, "dataschema"],
  "a source with a space": [{ ...minimal, source: "a b" }, "source"],
  "an integer of more than 32 bits": [{ ...minimal, big: 2 ** 31 }, "big"],
  "a control character": [{ ...minimal, subject: "a\u0000b" }, "subject"],
  "half a character": [{ ...minimal, mark: "\ud800" }, "mark"],
  "base64 that is none": [{ ...minimal, data_base64: "*" }, "data_base64"],
};

describe("a CloudEvent in JSON", () => {
  test.each(Object.entries(VALID))("%s is accepted", (_name, json) => {
    const present = Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));
    expect(cloudEventFromJson(json)).toEqual(present);
    expect(cloudEventToJson(cloudEventFromJson(json))).toEqual(present);
  });

  test.each(Object.entries(INVALID))("%s is refused, with the attribute that is wrong", (_name, [json, field]) => {
    const refused = expect.objectContaining({
      code: "INVALID_ARGUMENT",
      details: expect.objectContaining({ fieldViolations: [expect.objectContaining({ field })] }),
    });
    expect(() => cloudEventFromJson(json)).toThrow(refused);
  });

  test("carries bytes as base64 and JSON as it is", () => {
    const bytes = { ...minimal, datacontenttype: "image/png", data: new Uint8Array([0, 255, 7]) } as CloudEvent;
    expect(cloudEventToJson(bytes)).toEqual({ ...minimal, datacontenttype: "image/png", data_base64: "AP8H" });
    expect(cloudEventFromJson(cloudEventToJson(bytes))).toEqual(bytes);
    const json = { ...minimal, data: { a: [1, null] } } as CloudEvent;
    expect(cloudEventFromJson(JSON.parse(JSON.stringify(cloudEventToJson(json))))).toEqual(json);
  });

  test.each(["text", 7, null, [minimal]])("is an object, not %j", (value) => {
    expect(cloudEventProblems(value)).toEqual([{ field: "", description: "is not an object." }]);
  });

  test("is told of everything that is wrong with it", () => {
    const problems = cloudEventProblems({ id: "", time: "now", Bad: 1 });
    expect(problems.map(({ field }) => field).sort()).toEqual(["Bad", "id", "source", "specversion", "time", "type"]);
  });
});

describe("a batch of CloudEvents", () => {
  test.each([
    ["validBatchEmpty", []],
    ["validBatchMinimal", [minimal]],
    ["validBatchMinimal2", [minimal, minimal]],
    ["validBatchMinimalAndAllCore", [minimal, core]],
    ["validBatchMinimalAndAllExtensionTypes", [minimal, extensions]],
  ])("%s is accepted", (_name, batch) => {
    expect(cloudEventsFromJson(batch)).toEqual(batch);
  });

  test.each([
    ["invalidBatchMixedSpecVersions", [minimal, { ...minimal, specversion: "0.9" }], "[1].specversion"],
    ["invalidBatchContainingInvalidCloudEvent", [without("id")], "[0].id"],
    ["invalidBatchContainingNonObject", ["not an object", minimal], "[0]."],
  ])("%s is refused, with the place", (_name, batch, field) => {
    const refused = expect.objectContaining({
      details: expect.objectContaining({ fieldViolations: [expect.objectContaining({ field })] }),
    });
    expect(() => cloudEventsFromJson(batch)).toThrow(refused);
  });

  test("is an array", () => {
    expect(() => cloudEventsFromJson(minimal)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
