import { describe, expect, test } from "vitest";
import { dnsAddressOf, ENVIRONMENT_COUNT, lowestFree, VIP_COUNT, vipOf } from "./address-plan.ts";

describe("the address plan", () => {
  test("gives services 127.x.1.1 first, 127.x.255.254 last, and never .0 or .255", () => {
    expect([vipOf("127.88", 0), vipOf("127.88", 253), vipOf("127.88", 254)]).toEqual([
      "127.88.1.1",
      "127.88.1.254",
      "127.88.2.1",
    ]);
    expect(vipOf("127.88", VIP_COUNT - 1)).toBe("127.88.255.254");
    const all = new Set(Array.from({ length: VIP_COUNT }, (_, slot) => vipOf("127.88", slot)));
    expect(all.size).toBe(VIP_COUNT);
    expect([...all].filter((vip) => /\.(0|255)$/.test(vip))).toEqual([]);
  });

  test("gives environments 127.x.0.53, then the next ones", () => {
    expect([dnsAddressOf("127.90", 0), dnsAddressOf("127.90", 1)]).toEqual(["127.90.0.53", "127.90.0.54"]);
    expect(dnsAddressOf("127.90", ENVIRONMENT_COUNT - 1)).toBe("127.90.0.254");
  });

  test("gives an environment the first place that is free, also one that another has left", () => {
    expect([lowestFree([]), lowestFree([0, 1, 2]), lowestFree([0, 2, 3]), lowestFree([3, 1, 0])]).toEqual([0, 3, 1, 2]);
  });

  test("says what to do when addresses have run out", () => {
    expect(() => vipOf("127.88", VIP_COUNT)).toThrow(/another instance/);
    expect(() => dnsAddressOf("127.88", ENVIRONMENT_COUNT)).toThrow(
      expect.objectContaining({ code: "RESOURCE_EXHAUSTED", details: { reason: "ENVIRONMENTS_EXHAUSTED" } }),
    );
  });
});
