import { describe, expect, test } from "vitest";
import { parsePathTemplate } from "./path-template.ts";

const variables = (source: string) =>
  parsePathTemplate(source).variables.map(({ fieldPath, from, to, isMultiple }) => [fieldPath, from, to, isMultiple]);

describe("a path template", () => {
  test("has literals, wildcards and a verb", () => {
    expect(parsePathTemplate("/v1/*/a%20b/**:undo-it")).toMatchObject({
      segments: [{ kind: "literal", text: "v1" }, { kind: "one" }, { kind: "literal", text: "a b" }, { kind: "rest" }],
      verb: "undo-it",
    });
  });

  test.each([
    ["/v1/{name}", [["name", 1, 2, false]]],
    ["/v1/{name=*}", [["name", 1, 2, false]]],
    ["/v1/{book.name=shelves/*/books/*}/x", [["book.name", 1, 5, true]]],
    [
      "/{a}/{b=x/*}/{c=**}",
      [
        ["a", 0, 1, false],
        ["b", 1, 3, true],
        ["c", 3, -1, true],
      ],
    ],
    ["/v1/{name=fixed}", [["name", 1, 2, false]]],
  ])("binds variables to segments: %s", (source, expected) => {
    expect(variables(source)).toEqual(expected);
  });

  test.each([
    ["v1", '"/" is missing'],
    ["/", "segment is missing"],
    ["/v1//x", "segment is missing"],
    ["/v1/{", "field name is missing"],
    ["/v1/{a", '"}" is missing'],
    ["/v1/{a={b}}", "cannot hold another"],
    ["/v1/{a}{b}", "not expected"],
    ["/v1/**/x", "must be the last"],
    ["/v1/{a=**}/{b}", "must be the last"],
    ["/{a}/{a}", "twice"],
    ["/v1/a b", "not expected"],
    ["/v1/x:", "the verb is missing"],
    ["/v1/x:a:b", "not expected"],
    ["/v1/x?y", "not expected"],
    ["/v1/%zz", "segment is missing"],
  ])("that breaks the grammar is refused with the reason: %s", (source, why) => {
    expect(() => parsePathTemplate(source)).toThrow(why);
  });
});
