import type { LookupAddress } from "node:dns";
import { describe, expect, test } from "vitest";
import { carefulLookup, carefulLookupBy, SPECIAL_NETWORK } from "./careful-lookup.ts";

type Lookup = typeof carefulLookup;

function ask(lookup: Lookup, name: string, options: { all?: boolean } = {}): Promise<unknown> {
  return new Promise((resolve) => {
    lookup(name, options, (error, address, family) =>
      resolve(error ? error.code : family ? [address, family] : address),
    );
  });
}

const v4 = (address: string): LookupAddress => ({ address, family: 4 });
const v6 = (address: string): LookupAddress => ({ address, family: 6 });
/** A name server whose answers are these. */
const answering = (...addresses: LookupAddress[]) => carefulLookupBy((_, __, done) => done(null, addresses));

describe("a name that is connected to", () => {
  test.each([
    ["metadata", [v4("169.254.169.254")]],
    ["metadata by IPv6", [v6("fd00:ec2::254")]],
    ["metadata as IPv4 in IPv6", [v6("::ffff:169.254.169.254")]],
    ["metadata by NAT64", [v6("64:ff9b::a9fe:a9fe")]],
    ["link-local only", [v4("169.254.1.1"), v6("fe80::1")]],
    ["nowhere", [v4("0.0.0.0"), v6("::")]],
    ["nobody", []],
  ])("leads to no special network: %s", async (_, addresses) => {
    expect(await ask(answering(...addresses), "metadata.internal")).toBe(SPECIAL_NETWORK);
    expect(await ask(answering(...addresses), "metadata.internal", { all: true })).toBe(SPECIAL_NETWORK);
  });

  test("is connected to at those of its addresses where services are", async () => {
    const lookup = answering(v4("169.254.169.254"), v4("10.0.0.1"), v6("64:ff9b::102:304"));
    expect(await ask(lookup, "mixed.example")).toEqual(["10.0.0.1", 4]);
    expect(await ask(lookup, "mixed.example", { all: true })).toEqual([v4("10.0.0.1"), v6("64:ff9b::102:304")]);
  });

  test("is told as unknown if it is", async () => {
    const unknown = carefulLookupBy((_, __, done) => done(Object.assign(new Error(), { code: "ENOTFOUND" }), []));
    expect(await ask(unknown, "nobody.example")).toBe("ENOTFOUND");
  });

  test("is looked up as the system does, which reads numbers too", async () => {
    expect(await ask(carefulLookup, "localhost")).toEqual([expect.stringMatching(/^(127\.|::1)/), expect.any(Number)]);
    for (const number of ["2852039166", "0xa9fea9fe"]) expect(await ask(carefulLookup, number)).toBe(SPECIAL_NETWORK);
  });
});
