import { expect, test } from "vitest";
import { backOffMs } from "./back-off.ts";

test("the back-off doubles from half a second to thirty", () => {
  const middle = () => 0.5;
  expect([1, 2, 3, 7, 8, 1000].map((failures) => backOffMs(failures, middle))).toEqual([
    500, 1000, 2000, 30_000, 30_000, 30_000,
  ]);
});

test("replicas that fail together do not start together", () => {
  expect(backOffMs(1, () => 0)).toBe(375);
  expect(backOffMs(1, () => 1)).toBe(625);
});
