import { describe, expect, it } from "vitest";
import { decideRetry, type FailedAttempt, isIdempotent, RetryBudget } from "./retry-policy.ts";
import { DEFAULT_TRAFFIC_POLICY } from "./routing-table.ts";

function decide(attempt: Partial<FailedAttempt>, policy = {}) {
  const base = { method: "GET", bytesSent: true, responseStarted: false, bodyKept: true, retries: 0 };
  const failed = { failure: "closed", connectAttempts: 0 } as const;
  return decideRetry({ ...base, ...failed, ...attempt }, { ...DEFAULT_TRAFFIC_POLICY, ...policy });
}

describe("decideRetry", () => {
  it("repeats methods that do no harm, as often as the policy says", () => {
    for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]) {
      expect(isIdempotent(method)).toBe(true);
      expect(decide({ method })).toBe("retry");
      expect(decide({ method, retries: 1 })).toBe("give-up");
      expect(decide({ method, retries: 1 }, { retries: 2 })).toBe("retry");
      expect(decide({ method }, { retries: 0 })).toBe("give-up");
    }
  });

  it("never repeats POST or PATCH once a byte was sent, unless the policy allows it", () => {
    for (const method of ["POST", "PATCH"]) {
      expect(decide({ method })).toBe("give-up");
      expect(decide({ method }, { retryPost: true })).toBe("retry");
      expect(decide({ method, bytesSent: false })).toBe("reconnect");
    }
  });

  it("never repeats once the client has bytes of a response, or the body is gone", () => {
    expect(decide({ responseStarted: true })).toBe("give-up");
    expect(decide({ responseStarted: true, bytesSent: false })).toBe("give-up");
    expect(decide({ method: "PUT", bodyKept: false })).toBe("give-up");
  });

  it("moves on without counting as long as no byte was sent, over four connections", () => {
    expect(decide({ bytesSent: false, retries: 9, connectAttempts: 3 })).toBe("reconnect");
    expect(decide({ bytesSent: false, connectAttempts: 4 })).toBe("give-up");
  });

  it("never repeats what took too long, or was answered with nonsense", () => {
    for (const failure of ["timeout", "malformed", "silent"] as const) expect(decide({ failure })).toBe("give-up");
  });
});

describe("RetryBudget", () => {
  it("allows one retry for five requests beyond the first ten", () => {
    const budget = new RetryBudget();
    for (let i = 0; i < 10; i++) expect(budget.withdraw(0)).toBe(true);
    expect(budget.withdraw(0)).toBe(false);
    for (let i = 0; i < 10; i++) budget.deposit();
    expect([budget.withdraw(0), budget.withdraw(0), budget.withdraw(0)]).toEqual([true, true, false]);
  });

  it("gives a quiet service ten retries a second", () => {
    const budget = new RetryBudget();
    while (budget.withdraw(0));
    let granted = 0;
    for (let now = 0; now <= 1000; now += 10) if (budget.withdraw(now)) granted++;
    expect(granted).toBeGreaterThanOrEqual(9);
    expect(granted).toBeLessThanOrEqual(10);
  });
});
