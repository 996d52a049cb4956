import { expect, test } from "vitest";
import { secretChanges } from "./secret-changes.ts";

test("versions that differ, new secrets and those that are not used any more are told by name", () => {
  expect(secretChanges({ b: 1, same: 2, gone: 4 }, { a: 1, b: 3, same: 2 })).toEqual([
    { key: "secret a", before: "", after: "version 1" },
    { key: "secret b", before: "version 1", after: "version 3" },
    { key: "secret gone", before: "version 4", after: "" },
  ]);
  expect(secretChanges(undefined, { a: 1 })).toEqual([{ key: "secret a", before: "", after: "version 1" }]);
  expect(secretChanges({}, {})).toEqual([]);
});
