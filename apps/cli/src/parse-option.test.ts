import { describe, expect, test } from "vitest";
import { parseCount, parseDuration, parseSince } from "./parse-option.ts";

describe("durations", () => {
  test.each([
    ["500ms", 500],
    ["90s", 90_000],
    ["1h30m", 5_400_000],
    ["1.5s", 1500],
    ["2d", 172_800_000],
  ])("%s is %i milliseconds", (text, ms) => expect(parseDuration("--timeout", text)).toBe(ms));

  test.each(["", "5", "s", "5 s", "-5s", "5s later", "1e3s"])('"%s" is refused with what to write instead', (text) => {
    expect(() => parseDuration("--timeout", text)).toThrow(/--timeout is ".*", which is no time: write 500ms/);
  });
});

describe("counts", () => {
  test("are whole numbers within their bounds", () => {
    expect(parseCount("--tail", "0", 0)).toBe(0);
    expect(parseCount("replicas", "12", 1)).toBe(12);
  });

  test.each(["0", "-1", "1.5", "x", "", "1000001"])('"%s" is no number of replicas', (text) => {
    expect(() => parseCount("replicas", text, 1)).toThrow("write a whole number from 1 on");
  });
});

describe("--since", () => {
  const now = Date.parse("2026-01-31T12:00:00Z");

  test("counts back from now", () => expect(parseSince("10m", now).toISOString()).toBe("2026-01-31T11:50:00.000Z"));
  test("takes a time as it is", () => expect(parseSince("2026-01-30T00:00:00Z", now).getUTCDate()).toBe(30));
  test("refuses what is neither", () => expect(() => parseSince("yesterday", now)).toThrow("--since"));
});
