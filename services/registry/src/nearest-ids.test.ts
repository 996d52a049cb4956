import { expect, test } from "vitest";
import { nearestIds } from "./nearest-ids.ts";

const known = ["hms.cdf.debate", "hms.cdf.policy", "hms.gov.policy", "hms.sys.mesh"];

test("the nearest ids are those a slip away, nearest first, then those with the same last part", () => {
  expect(nearestIds("hms.cdf.debat", known)).toEqual(["hms.cdf.debate"]);
  expect(nearestIds("hms.cdf.polcy", known)).toEqual(["hms.cdf.policy"]);
  expect(nearestIds("acme.policy", known)).toEqual(["hms.cdf.policy", "hms.gov.policy"]);
  expect(nearestIds("something.else", known)).toEqual([]);
});
