import { describe, expect, test } from "vitest";
import { patternTest } from "./name-pattern.ts";

describe("a pattern of names", () => {
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
});
