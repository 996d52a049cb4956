import { expect, test } from "vitest";
import { nextOpening } from "./deploy-window.ts";

const opens = (windows: string[], now: string) => nextOpening(windows, new Date(now)).toISOString();
const WORK = "mon-fri 09:00-16:00 Europe/Berlin";

test.each([
  ["open", [WORK], "2026-11-27T10:00:30Z", "2026-11-27T10:00:30.000Z"],
  ["its first minute", [WORK], "2026-11-27T08:00:00Z", "2026-11-27T08:00:00.000Z"],
  ["its last minute", [WORK], "2026-11-27T14:59:59Z", "2026-11-27T14:59:59.000Z"],
  ["over, on a Friday", [WORK], "2026-11-27T15:00:00Z", "2026-11-30T08:00:00.000Z"],
  ["before, in winter", [WORK], "2026-11-27T02:00:00Z", "2026-11-27T08:00:00.000Z"],
  ["before, in summer", [WORK], "2026-07-01T02:00:00Z", "2026-07-01T07:00:00.000Z"],
  ["over the night on which the clocks change", [WORK], "2026-03-27T20:00:00Z", "2026-03-30T07:00:00.000Z"],
  ["the nearest of several", [WORK, "sat 10:00-11:00"], "2026-11-27T15:00:00Z", "2026-11-28T10:00:00.000Z"],
  ["over the end of the week", ["sat-mon 00:00-24:00"], "2026-11-30T23:59:00Z", "2026-11-30T23:59:00.000Z"],
  ["once a week", ["wed 01:00-01:01"], "2026-11-25T01:01:00Z", "2026-12-02T01:00:00.000Z"],
  ["in no zone, UTC", ["fri 08:00-09:00"], "2026-11-27T07:59:59Z", "2026-11-27T08:00:00.000Z"],
])("a window %s", (_, windows, now, expected) => {
  expect(opens(windows, now)).toBe(expected);
});
