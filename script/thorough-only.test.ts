import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { leftOut } from "./thorough-only.ts";

const root = join(import.meta.dirname, "..");

test("every file that is left out is there, and a thorough run or its name brings it in", () => {
  const files = leftOut({}, []);
  expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  expect(leftOut({ HMS_TEST_THOROUGH: "1" }, [])).toEqual([]);
  const [first = "", ...others] = files;
  expect(leftOut({}, ["run", "--project", "system", first])).toEqual(others);
});
