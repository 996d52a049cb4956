import { describe, expect, test } from "vitest";
import { likeOperand, patternTest, patternViolations } from "./id-pattern.ts";

describe("a pattern of service ids", () => {
  test.each([
    ["*", ["a", "hms.sys.mesh"], []],
    ["hms.sys.mesh", ["hms.sys.mesh"], ["hms.sys.meshes", "hms.sys"]],
    ["hms.*", ["hms.sys.mesh", "hms."], ["hms", "xhms.sys"]],
    ["*.mesh", ["hms.sys.mesh"], ["hms.sys.mesh2", "mesh"]],
    ["hms.*.debate", ["hms.cdf.debate", "hms.a.b.debate"], ["hms.debate", "hms.cdf.debates"]],
    ["a*b*c", ["abc", "aXbXc", "abbc"], ["ac", "acb", "ab"]],
    ["ab*ba", ["abba", "abXba"], ["aba"]],
    ["**", ["x"], []],
  ])("%s fits what it should", (pattern, fitting, others) => {
    expect(fitting.filter(patternTest(pattern))).toEqual(fitting);
    expect(others.filter(patternTest(pattern))).toEqual([]);
  });

  test("becomes an operand of LIKE in which nothing else is special", () => {
    expect(likeOperand("hms_a.*.b**")).toBe("hms\\_a.%.b%");
  });

  test("is refused if it holds what no service id can", () => {
    expect(patternViolations("hms.*")).toEqual([]);
    expect(patternViolations("hms.%")).toMatchObject([{ field: "pattern" }]);
    expect(patternViolations("a".repeat(300))).toMatchObject([{ field: "pattern" }]);
  });
});
