import { type LookupAddress, type LookupOptions, lookup } from "node:dns";
import type { LookupFunction } from "node:net";
import { networkOfAddress } from "./address-network.ts";

type Resolve = (name: string, options: LookupOptions, done: Answered) => void;
type Answered = (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void;

/** The code of the error of a name that leads only to special networks. */
export const SPECIAL_NETWORK = "ESPECIALNETWORK";

/** RFC 6052: where no IPv4 is, name servers answer with IPv4 addresses in this form; the last four bytes say where it leads. */
const NAT64 = /^64:ff9b::([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/** The address that is reached in the end: of NAT64 the IPv4 one. */
export function reachedAddress(address: string): string {
  const [, high, low] = NAT64.exec(address) ?? [];
  if (high === undefined || low === undefined) return address;
  const number = Number.parseInt(high, 16) * 0x10000 + Number.parseInt(low, 16);
  return [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255].join(".");
}

const leadsToSpecial = (address: string) => networkOfAddress(reachedAddress(address)) === "special";

/**
 * A lookup for `net.connect` and everything that is built on it, which refuses names that lead to special networks
 * (`networkOfAddress`): link-local ones with clouds' metadata, unspecified, multicast, reserved. What was looked at is what is
 * connected to, so a name that leads elsewhere a moment later gains nothing. Addresses in digits are not looked up: check
 * them where they are given. Fails with the code ESPECIALNETWORK if no other address is left.
 */
export function carefulLookupBy(resolve: Resolve): LookupFunction {
  return (name, options, done) => {
    resolve(name, { ...options, all: true }, (error, found) => {
      if (error) return done(error, []);
      const addresses = (found as LookupAddress[]).filter(({ address }) => !leadsToSpecial(address));
      const [first] = addresses;
      if (first === undefined) return done(refusal(name, found as LookupAddress[]), []);
      if (options.all) done(null, addresses);
      else done(null, first.address, first.family);
    });
  };
}

/** `carefulLookupBy` the system's resolver. */
export const carefulLookup: LookupFunction = carefulLookupBy((name, options, done) =>
  lookup(name, options, done as never),
);

function refusal(name: string, [found]: readonly LookupAddress[]): NodeJS.ErrnoException {
  const message = `"${name}" leads to ${found?.address ?? "nowhere"}, where no service is (link-local, metadata, multicast)`;
  return Object.assign(new Error(message), { code: SPECIAL_NETWORK });
}
