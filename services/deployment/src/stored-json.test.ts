import { expect, test } from "vitest";
import { storedJson, storedText } from "./stored-json.ts";

test("what a program says is kept, but for what PostgreSQL refuses", () => {
  expect(storedText("a\0b")).toBe("a\ufffdb");
  expect(storedText(`${"x".repeat(3)}😀`.slice(0, 4))).toBe("xxx\ufffd");
  expect(storedText("whole 😀")).toBe("whole 😀");
  expect(JSON.parse(storedJson({ said: ["\0", { deep: "\ud83d" }], revision: 1, none: null }))).toEqual({
    said: ["\ufffd", { deep: "\ufffd" }],
    revision: 1,
    none: null,
  });
});
