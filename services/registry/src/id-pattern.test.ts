import { describe, expect, test } from "vitest";
import { likeOperand, patternViolations } from "./id-pattern.ts";

describe("a pattern of service ids", () => {
  test("becomes an operand of LIKE in which nothing else is special", () => {
    expect(likeOperand("hms_a.*.b**")).toBe("hms\\_a.%.b%");
  });

  test("is refused if it holds what no service id can", () => {
    expect(patternViolations("hms.*")).toEqual([]);
    expect(patternViolations("hms.%")).toMatchObject([{ field: "pattern" }]);
    expect(patternViolations("a".repeat(300))).toMatchObject([{ field: "pattern" }]);
  });
});
