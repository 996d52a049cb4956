import { describe, expect, test } from "vitest";
import { InstanceBreaker } from "./instance-breaker.ts";

const breaker = () => new InstanceBreaker({ random: () => 0.5 });

describe("a breaker", () => {
  test("ejects after seven failures in a row, and not if one call in between went well", () => {
    const one = breaker();
    for (let i = 0; i < 6; i += 1) one.failed(0, false);
    one.succeeded(0);
    for (let i = 0; i < 6; i += 1) one.failed(0, false);
    expect(one.state(1)).toBe("closed");
    one.failed(0, false);
    expect([one.state(1), one.ejectedUntil]).toEqual(["open", 1_000]);
  });

  test("ejects when fewer than half of at least twenty calls succeed, even if never seven fail in a row", () => {
    const one = breaker();
    for (let i = 0; i < 30 && one.state(1) === "closed"; i += 1) {
      one.failed(0, false);
      if (i % 3 === 0) one.succeeded(0);
    }
    expect(one.state(1)).toBe("open");
  });

  test("ejects at once what nobody answers for", () => {
    const one = breaker();
    one.failed(5, true);
    expect(one.ejectedUntil).toBe(1_005);
  });

  test("lets one call probe when the time is over, and keeps the others away meanwhile", () => {
    const one = breaker();
    one.failed(0, true);
    expect(one.state(1_000)).toBe("closed");
    one.begin(1_000);
    expect(one.state(1_000)).toBe("probing");
    expect(one.ejectedUntil).toBeGreaterThan(1_000);
    one.succeeded(1_001);
    expect([one.state(1_001), one.ejectedUntil]).toEqual(["closed", 0]);
  });

  test("stays away twice as long after each probe that failed, a minute at most", () => {
    const one = breaker();
    one.failed(0, true);
    const pauses: number[] = [];
    for (let i = 0; i < 8; i += 1) {
      const now = one.ejectedUntil;
      one.begin(now);
      one.failed(now, false);
      pauses.push(one.ejectedUntil - now);
    }
    expect(pauses).toEqual([2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000]);
  });

  test("does not wait for ever for a probe whose caller left", () => {
    const one = breaker();
    one.failed(0, true);
    one.begin(1_000);
    one.abandoned();
    one.begin(one.ejectedUntil);
    expect(one.state(one.ejectedUntil)).toBe("probing");
  });
});
