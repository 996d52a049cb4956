import { describe, expect, it } from "vitest";
import { RateLimiter } from "./rate-limit.ts";

const terms = { count: 10, periodMs: 1000, burst: 5 };

describe("a rate limit", () => {
  it("lets a burst through at once, then one for each interval", () => {
    const limiter = new RateLimiter(terms);
    const burst = Array.from({ length: 6 }, () => limiter.take("a", 0));
    expect(burst.map(({ isAllowed }) => isAllowed)).toEqual([true, true, true, true, true, false]);
    expect(burst.map(({ remaining }) => remaining)).toEqual([4, 3, 2, 1, 0, 0]);
    expect(burst[5]).toMatchObject({ retryAfterMs: 100, resetMs: 500 });
    expect(limiter.take("a", 99).isAllowed).toBe(false);
    expect(limiter.take("a", 100).isAllowed).toBe(true);
    expect(limiter.take("a", 101).isAllowed).toBe(false);
    expect(limiter.take("b", 101).isAllowed).toBe(true);
  });

  it("never lets more through in any window than its count and its burst", () => {
    const limiter = new RateLimiter(terms);
    const passed: number[] = [];
    let seed = 7;
    for (let now = 0; now < 20_000; now += seed % 40) {
      seed = (seed * 48_271) % 2_147_483_647;
      if (limiter.take("k", now).isAllowed) passed.push(now);
    }
    for (const [i, start] of passed.entries()) {
      const within = passed.slice(i).filter((at) => at < start + 1000).length;
      expect(within).toBeLessThanOrEqual(terms.count + terms.burst);
    }
    expect(passed.length).toBeGreaterThan(190);
  });

  it("is not used up by what it refuses", () => {
    const limiter = new RateLimiter({ count: 1, periodMs: 1000, burst: 1 });
    expect(limiter.take("a", 0).isAllowed).toBe(true);
    for (let now = 1; now < 1000; now += 10) expect(limiter.take("a", now).isAllowed).toBe(false);
    expect(limiter.take("a", 1000).isAllowed).toBe(true);
  });

  it("keeps no more than 50,000 keys, whoever comes", () => {
    const limiter = new RateLimiter(terms);
    for (let i = 0; i < 60_000; i++) limiter.take(`k${i}`, 0);
    expect(limiter.size).toBe(50_000);
    for (let i = 0; i < 10; i++) limiter.take(`n${i}`, 10_000);
    expect(limiter.size).toBe(10);
  });
});
