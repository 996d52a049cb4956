import { HmsError } from "@hms/kernel/errors";
import { expect, test } from "vitest";
import { exitCodeOf } from "./exit-code.ts";

test.each([
  ["INVALID_ARGUMENT", 2],
  ["DEADLINE_EXCEEDED", 5],
  ["ABORTED", 6],
  ["CANCELLED", 130],
  ["NOT_FOUND", 1],
  ["UNAVAILABLE", 1],
  ["INTERNAL", 1],
] as const)("%s ends a command with exit code %i", (code, exit) => {
  expect(exitCodeOf(new HmsError(code, "It did not work."))).toBe(exit);
});
