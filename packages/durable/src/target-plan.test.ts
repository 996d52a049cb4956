import { HmsError } from "@hms/kernel/errors";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Json } from "./json.ts";
import { planTargets } from "./target-plan.ts";

const namesOf = (items: Json) => planTargets({ items: [] }, items).targets.map(({ target }) => target);

test("each target has a name that no other has, its own if it can", () => {
  expect(namesOf(["a", { name: "b" }, { id: "c" }, 5, "a"])).toEqual(["a", "b", "c", "#3", "#4"]);
  expect(namesOf(["#1", "#1", "#1.2"])).toEqual(["#1", "#1.2", "#2"]);
  expect(namesOf(["#1", 5])).toEqual(["#1", "#1.2"]);
  const odd = fc.oneof(fc.constantFrom<Json>("#0", "#1", "#2", "#1.2", "#2.2", "", "x"), fc.integer({ max: 3 }));
  fc.assert(
    fc.property(fc.array(odd, { maxLength: 8 }), (items) => {
      expect(new Set(namesOf(items)).size).toBe(items.length);
    }),
  );
});

test("as many may fail as there are, at most", () => {
  const most = (max_fail: number | string, items: Json[]) => planTargets({ items: [], max_fail }, items).max_fail;
  expect([most(3_000_000_000, ["a", "b"]), most(1, ["a", "b"]), most("10%", ["a"]), most("100%", ["a"])]).toEqual([
    2, 1, 0, 1,
  ]);
});

test("targets that the database does not store are an error that says why", () => {
  for (const items of [["a\0b"], [{ name: "x", text: "\ud800" }], ["x".repeat(20_000_000)]]) {
    expect(() => planTargets({ items: [] }, items)).toThrow(
      expect.objectContaining<Partial<HmsError>>({ code: "INVALID_ARGUMENT" }),
    );
    expect(() => planTargets({ items: [] }, items)).toThrow(/^What targets\.items gave has /);
  }
  expect(() => planTargets({ items: [] }, 5)).toThrow(HmsError);
});
