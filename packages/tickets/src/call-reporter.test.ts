import type { registry } from "@hms/contracts";
import { type AuditEvent, anonymous, type CallOptions, HmsError } from "@hms/kernel";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createCallReporter } from "./index.ts";

type Report = Parameters<Parameters<typeof createCallReporter>[0]["registry"]["reportCalls"]>[0];

const debate = { environment: "default", serviceId: "hms.cdf.debate", version: "v1", instanceId: "i-1" };
const policyService = { ...debate, serviceId: "hms.cdf.policy" };

function event(init: Partial<AuditEvent> = {}): AuditEvent {
  return {
    time: new Date(1000),
    principal: { kind: "user", id: "anna" },
    method: "hms.cdf.debate.v1.DebateService/CreateDebate",
    permission: "call:method",
    resource: "hms.cdf.debate",
    outcome: "OK",
    reason: "",
    requestId: "r-1",
    ...init,
  };
}

/** A registry that notes what it is told, or refuses. */
function openReporter() {
  const reports: Report[] = [];
  const failures: { code: string; dropped: number }[] = [];
  const state: { refuses: HmsError | undefined } = { refuses: undefined };
  const reporter = createCallReporter({
    registry: {
      reportCalls: async (report: Report, _options?: CallOptions) => {
        if (state.refuses) throw state.refuses;
        reports.push(report);
        return {} as registry.ReportCallsResponse;
      },
    },
    instances: [debate, policyService],
    onFailure: ({ code }, dropped) => failures.push({ code, dropped }),
  });
  const told = () => reports.flatMap(({ calls = [] }) => calls);
  return { reporter, reports, failures, state, told };
}

describe("a reporter of calls", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("gathers calls and tells each once, for the instance that answered it", async () => {
    const { reporter, reports, told } = openReporter();
    reporter.record(event({ request: { topic: "x" } }));
    reporter.record(event({ outcome: "denied", reason: "no" }));
    reporter.record(event({ outcome: "denied", principal: anonymous }));
    reporter.record(event({ outcome: "NOT_FOUND", method: "hms.cdf.policy.v1.PolicyService/GetPolicy" }));
    reporter.record(event({ method: "hms.ffi.v1.RegistryService/Lookup" }));
    expect(reports).toEqual([]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(reports.map(({ serviceId }) => serviceId)).toEqual(["hms.cdf.debate", "hms.cdf.policy"]);
    expect(told()).toMatchObject([
      { method: "DebateService/CreateDebate", principal: "user:anna", code: 0, requestJson: '{"topic":"x"}' },
      { code: 7, reason: "no", requestId: "r-1" },
      { code: 16 },
      { method: "PolicyService/GetPolicy", code: 5 },
    ]);
    expect(new Set(told().map(({ recordId }) => recordId)).size).toBe(4);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(reports).toHaveLength(2);
  });

  test("keeps the newest 10,000 while the registry is away and tells them when it is back", async () => {
    const { reporter, failures, state, told } = openReporter();
    state.refuses = new HmsError("UNAVAILABLE", "away");
    for (let i = 0; i < 12_000; i++) reporter.record(event({ requestId: `r-${i}` }));
    expect(reporter.accepts).toBe(true);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(failures.length).toBeGreaterThan(1);
    expect(failures[0]).toEqual({ code: "UNAVAILABLE", dropped: 2000 });
    state.refuses = undefined;
    await vi.advanceTimersByTimeAsync(30_000);
    expect(told().length).toBe(10_000);
    expect(told().at(-1)?.requestId).toBe("r-11999");
    expect(reporter.waiting).toBe(0);
  });

  test("repeats a report with the same ids", async () => {
    const { reporter, state, told } = openReporter();
    const ids: unknown[] = [];
    const inner = event();
    reporter.record(inner);
    state.refuses = new HmsError("UNAVAILABLE", "away");
    await vi.advanceTimersByTimeAsync(1000);
    state.refuses = undefined;
    await vi.advanceTimersByTimeAsync(2000);
    ids.push(...told().map(({ recordId }) => recordId));
    expect(ids).toHaveLength(1);
  });

  test("drops what the registry will never take, and says how much", async () => {
    const { reporter, failures, state } = openReporter();
    reporter.record(event());
    state.refuses = new HmsError("INVALID_ARGUMENT", "never");
    await vi.advanceTimersByTimeAsync(1000);
    expect(failures).toEqual([{ code: "INVALID_ARGUMENT", dropped: 1 }]);
    expect(reporter.waiting).toBe(0);
  });

  test("holds no more than 16 MiB of requests, and no request beyond 64 KiB", async () => {
    const { reporter, told } = openReporter();
    reporter.record(event({ request: "x".repeat(70_000) }));
    for (let i = 0; i < 400; i++) reporter.record(event({ request: "x".repeat(60_000) }));
    expect(reporter.waiting * 60_000).toBeLessThan(17 * 1024 * 1024);
    expect(reporter.waiting).toBeGreaterThan(200);
    reporter.record(event({ request: "y".repeat(70_000) }));
    await vi.advanceTimersByTimeAsync(1000);
    expect(told().at(-1)?.requestJson).toBe('{"omitted":"a request of 70002 characters"}');
  });

  test("tells what is left when it is closed", async () => {
    const { reporter, told } = openReporter();
    reporter.record(event());
    await reporter[Symbol.asyncDispose]();
    expect(told()).toHaveLength(1);
  });
});
