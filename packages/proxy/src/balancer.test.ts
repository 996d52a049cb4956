import { describe, expect, it } from "vitest";
import { Balancer, costOf } from "./balancer.ts";
import { LatencyEstimate } from "./latency-estimate.ts";

interface Fake {
  name: string;
  weight: number;
  inFlight: number;
  ejectedUntil: number;
  latency: LatencyEstimate;
}

function endpoint(name: string, latencyMs = 0, weight = 1000): Fake {
  const latency = new LatencyEstimate();
  if (latencyMs > 0) latency.observe(latencyMs, 1);
  return { name, weight, inFlight: 0, ejectedUntil: 0, latency };
}

function shares(balancer: Balancer<Fake>, draws = 20_000): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let i = 0; i < draws; i++) {
    const name = balancer.pick(2, [])?.name ?? "none";
    counts[name] = (counts[name] ?? 0) + 1 / draws;
  }
  return counts;
}

describe("Balancer", () => {
  it("gives nothing to an endpoint that is slower than any other it could be compared with", () => {
    const balancer = new Balancer([endpoint("a", 10), endpoint("b", 10), endpoint("slow", 100)]);
    expect(shares(balancer).slow).toBeUndefined();
  });

  it("spreads equal endpoints evenly once one of them is busier", () => {
    const [a, b] = [endpoint("a", 10), endpoint("b", 10)];
    const balancer = new Balancer([a, b]);
    for (let i = 0; i < 100; i++) (balancer.pick(2, []) as Fake).inFlight++;
    expect(Math.abs(a.inFlight - b.inFlight)).toBeLessThanOrEqual(1);
  });

  it("honours weights, whatever the latencies", () => {
    const share = shares(new Balancer([endpoint("old", 10, 900), endpoint("new", 50, 100)]));
    expect(share.new).toBeGreaterThan(0.085);
    expect(share.new).toBeLessThan(0.115);
  });

  it("divides a weight class among its members by cost", () => {
    const balancer = new Balancer([endpoint("a", 10, 450), endpoint("slow", 100, 450), endpoint("new", 10, 100)]);
    const share = shares(balancer);
    expect(share.a).toBeGreaterThan(0.87);
    expect(share.slow).toBeUndefined();
  });

  it("gives nothing to weight 0, and null when there is nobody", () => {
    expect(shares(new Balancer([endpoint("a"), endpoint("none", 0, 0)]))).toEqual({ a: expect.closeTo(1) });
    expect(new Balancer([endpoint("none", 0, 0)]).pick(1, [])).toBeNull();
    expect(new Balancer<Fake>([]).pick(1, [])).toBeNull();
  });

  it("avoids ejected endpoints and those that were tried, but prefers an ejected one to none", () => {
    const [a, b] = [endpoint("a"), endpoint("b")];
    const balancer = new Balancer([a, b]);
    a.ejectedUntil = 100;
    expect(shares(balancer, 100)).toEqual({ b: expect.closeTo(1) });
    expect(balancer.pick(2, [b])).toBe(a);
    expect(balancer.pick(2, [a, b])).toBeNull();
    b.ejectedUntil = 50;
    expect(balancer.pick(2, [])).toBe(b);
  });

  it("does not flood a cold endpoint, and tries it at once", () => {
    const [warm, cold] = [endpoint("warm", 10), endpoint("cold")];
    expect(costOf(cold, 2)).toBe(0);
    cold.inFlight = 1;
    expect(costOf(cold, 2)).toBeGreaterThan(costOf(warm, 2));
  });
});

describe("LatencyEstimate", () => {
  it("takes a peak at once and forgets it with time", () => {
    const latency = new LatencyEstimate(10_000);
    latency.observe(1, 1000);
    latency.observe(500, 2000);
    expect(latency.current(2000)).toBe(500);
    expect(latency.current(12_000)).toBeCloseTo(500 / Math.E);
    latency.observe(1, 12_000);
    expect(latency.current(12_000)).toBeGreaterThan(1);
    expect(latency.current(12_000)).toBeLessThan(200);
  });

  it("outlives one hiccup among many answers at once", () => {
    const latency = new LatencyEstimate();
    latency.observe(500, 1000);
    for (let i = 1; i <= 50; i++) latency.observe(5, 1000 + i);
    expect(latency.current(1050)).toBeLessThan(10);
  });
});
