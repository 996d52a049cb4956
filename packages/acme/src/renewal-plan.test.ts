import { expect, test } from "vitest";
import { renewalTime, waitAfter } from "./renewal-plan.ts";

const HOUR = 3600_000;
const DAY = 24 * HOUR;
const lives = [6 * HOUR, 6 * DAY, 47 * DAY, 90 * DAY, 398 * DAY];

test("a certificate is renewed between two thirds and three quarters of its life, always at the same moment", () => {
  for (const life of lives) {
    for (let n = 0; n < 200; n += 1) {
      const validity = { notBefore: 1e12, notAfter: 1e12 + life };
      const at = renewalTime(validity, { seed: `${n}` });
      const part = (at - validity.notBefore) / life;
      expect(part).toBeGreaterThanOrEqual(2 / 3);
      expect(part).toBeLessThan(3 / 4);
      expect(renewalTime(validity, { seed: `${n}`, obtainedAt: validity.notBefore })).toBe(at);
    }
  }
  const moments = Array.from({ length: 200 }, (_, n) =>
    renewalTime({ notBefore: 0, notAfter: 90 * DAY }, { seed: `${n}` }),
  );
  // A day's certificates are spread over days.
  expect(Math.max(...moments) - Math.min(...moments)).toBeGreaterThan(4 * DAY);
});

test("the authority's window decides, within the certificate's life, and not right after it came", () => {
  const validity = { notBefore: 0, notAfter: 90 * DAY };
  const at = renewalTime(validity, { seed: "a", window: { start: 10 * DAY, end: 12 * DAY } });
  expect(at / DAY).toBeGreaterThanOrEqual(10);
  expect(at / DAY).toBeLessThan(12);
  const late = renewalTime(validity, { seed: "a", window: { start: 80 * DAY, end: 900 * DAY } });
  expect(late).toBeLessThanOrEqual(90 * DAY * 0.95);
  // One that has been over for long would have each new certificate replaced at once, for ever.
  const past = { start: -2 * DAY, end: -DAY };
  expect(renewalTime(validity, { seed: "a", window: past, obtainedAt: 5 * DAY })).toBe(5 * DAY + HOUR);
  const unusable = { start: 12 * DAY, end: 10 * DAY };
  expect(renewalTime(validity, { seed: "a", window: unusable })).toBe(renewalTime(validity, { seed: "a" }));
});

test("who fails waits three times as long each time, up to half a day, and never shorter than was asked for", () => {
  const waits = (isJudged: boolean) =>
    Array.from(
      { length: 9 },
      (_, n) => waitAfter({ failures: n + 1, isJudged, retryAfterMs: 0, random: 0.5 }) / 60_000,
    );
  expect(waits(true)).toEqual([5, 15, 45, 135, 405, 720, 720, 720, 720]);
  expect(waits(false)).toEqual([1, 3, 9, 27, 81, 243, 720, 720, 720]);
  for (let n = 0; n < 1000; n += 1) {
    const retryAfterMs = n % 2 === 0 ? 0 : n * 100_000;
    const wait = waitAfter({ failures: n + 1, isJudged: n % 3 === 0, retryAfterMs, random: (n * 0.618) % 1 });
    expect(wait).toBeGreaterThanOrEqual(Math.max(retryAfterMs, 48_000));
    expect(wait).toBeLessThanOrEqual(Math.max(retryAfterMs, 12 * HOUR * 1.2));
  }
});
