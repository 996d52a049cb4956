import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { problemOf } from "./shown-by.ts";

const page = readFileSync(new URL("../../docs/security/identity.md", import.meta.url), "utf8");
const rows = page
  .split("\n")
  .filter((line) => line.startsWith("| ") && !line.startsWith("| Promise"))
  .map((line) => line.slice(2, -2).split(" | "));

test("every promise about who comes in names the tests that show it, and they are there", () => {
  expect(rows.length).toBeGreaterThan(20);
  expect(rows.map(([promise, state = ""]) => [promise, problemOf(state)]).filter(([, problem]) => problem)).toEqual([]);
});
