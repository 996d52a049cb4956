import { beforeEach, describe, expect, it } from "vitest";
import { type Assignment, Division, hasAnother, pickEndpoint } from "./division.ts";
import { Endpoint } from "./endpoint.ts";
import { ServiceMetrics } from "./metrics-registry.ts";
import type { EndpointEntry } from "./routing-table.ts";
import { Service } from "./service.ts";
import { RequestDealer } from "./split-choice.ts";

const NOW = 1_000;
const TRIED = (): Assignment => ({ revision: 2, hasCrossed: false });
const BASELINE = (): Assignment => ({ revision: 0, hasCrossed: false });

let metrics: ServiceMetrics;
beforeEach(() => {
  metrics = new ServiceMetrics();
});

function endpoint(id: string, own: Partial<EndpointEntry> = {}): Endpoint {
  const revision = id.startsWith("new") ? 2 : 1;
  const entry = { id, host: "127.0.0.1", port: 1, state: "active", weight: 1_000, revision, ...own } as const;
  return new Endpoint(entry, 1_024);
}

function division(...endpoints: Endpoint[]): Division {
  const scope = { environment: "default", name: "svc", metrics, dealer: new RequestDealer(0) };
  return new Division({ revision: 2, share: 5_000, matches: [], sticky: null }, endpoints, scope);
}

function ejected(id: string, until = NOW + 500): Endpoint {
  const made = endpoint(id);
  made.ejectedUntil = until;
  return made;
}

function picked(from: Division, assignment: Assignment | null, passed: readonly Endpoint[] = []): Set<string> {
  return new Set(Array.from({ length: 100 }, () => from.pick(assignment, NOW, passed)?.id ?? "none"));
}

describe("a request of a split service", () => {
  it("goes to its own side only while one there accepts connections", () => {
    const both = division(endpoint("old-1"), endpoint("old-2"), endpoint("new-1"));
    expect(picked(both, TRIED())).toEqual(new Set(["new-1"]));
    expect(picked(both, BASELINE())).toEqual(new Set(["old-1", "old-2"]));
    expect(picked(both, null)).toEqual(new Set(["old-1", "old-2"]));
    expect([metrics.triedUnavailable, metrics.baselineUnavailable]).toEqual([0, 0]);
  });

  it("goes to the other side if its own is empty, weighs nothing, or is left alone; counted once for each request", () => {
    const triedIsAway = [
      division(endpoint("old-1")),
      division(endpoint("old-1"), endpoint("new-1", { weight: 0 })),
      division(endpoint("old-1"), ejected("new-1")),
    ];
    for (const each of triedIsAway) expect(picked(each, TRIED())).toEqual(new Set(["old-1"]));
    expect([metrics.triedUnavailable, metrics.baselineUnavailable]).toEqual([3, 0]);
    expect(picked(division(ejected("old-1"), endpoint("new-1")), BASELINE())).toEqual(new Set(["new-1"]));
    expect([metrics.triedUnavailable, metrics.baselineUnavailable]).toEqual([3, 1]);
  });

  it("tries its own side first if nobody accepts, and gets nothing only if there is nobody at all", () => {
    expect(picked(division(ejected("old-1"), ejected("new-1")), TRIED())).toEqual(new Set(["new-1"]));
    expect(picked(division(ejected("old-1")), TRIED())).toEqual(new Set(["old-1"]));
    expect(picked(division(), TRIED())).toEqual(new Set(["none"]));
    expect(metrics.triedUnavailable).toBe(1);
  });

  it("belongs to the baseline if the revision that it was meant for is no longer tried", () => {
    const next = division(endpoint("old-1"), endpoint("new-1"));
    expect(picked(next, { revision: 7, hasCrossed: false })).toEqual(new Set(["old-1"]));
  });
});

describe("a request that is repeated", () => {
  it("has another endpoint only on its own side, and whatever there is without a split", () => {
    const endpoints = [endpoint("old-1"), endpoint("new-1")];
    const service = new Service("default", "svc");
    const target = { service, metrics: service.meshRoute, gate: null };
    const passed = [endpoints[1] as Endpoint];
    service.useEndpoints(endpoints, { revision: 2, share: 0, matches: [], sticky: null });
    expect(hasAnother({ target, assignment: TRIED() }, NOW, passed)).toBe(false);
    expect(hasAnother({ target, assignment: BASELINE() }, NOW, passed)).toBe(true);
    service.useEndpoints(endpoints);
    expect(hasAnother({ target, assignment: TRIED() }, NOW, passed)).toBe(true);
    expect(pickEndpoint({ target, assignment: TRIED() }, NOW, passed)?.id).toBe("old-1");
  });
});
