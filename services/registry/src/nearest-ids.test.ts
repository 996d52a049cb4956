import { expect, test } from "vitest";
import { nearestIds } from "./nearest-ids.ts";

const known = ["hms.cdf.debate", "hms.cdf.policy", "hms.gov.policy", "hms.sys.mesh"];

test("the nearest ids are those a slip away, nearest first, then those with the same last part", () => {
  expect(nearestIds("hms.cdf.debat", known)).toEqual(["hms.cdf.debate"]);
  expect(nearestIds("hms.cdf.polcy", known)).toEqual(["hms.cdf.policy"]);
  expect(nearestIds("acme.policy", known)).toEqual(["hms.cdf.policy", "hms.gov.policy"]);
  expect(nearestIds("something.else", known)).toEqual([]);
});

test("the distance is the true one up to three edits, at both ends and in the middle", () => {
  const found = (name: string) => nearestIds(name, ["abcdef"]).length === 1;
  expect(["abcdef", "bcdef", "abcde", "xabcdef", "abcdefxyz", "abc", "axcxex", "def"].map(found)).toEqual(
    Array(8).fill(true),
  );
  expect(["", "ab", "xxxxef", "fedcba", "abcdefwxyz", "xbxdxfx"].map(found)).toEqual(Array(6).fill(false));
});
