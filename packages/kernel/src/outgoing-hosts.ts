import { BlockList, isIP, type LookupFunction } from "node:net";
import { networkOfAddress } from "./address-network.ts";
import { reachedAddress } from "./careful-lookup.ts";

const NAME =
  /^(?=.{1,253}$)(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Digits only, in any base: an address that is not written in full. */
const NUMBER = /^(?:0x[0-9a-f]*|[0-9]+)$/;
const RANGE = /^([^/]+)\/(\d{1,3})$/;

/** What is wrong with an entry of a list of hosts, as the rest of a sentence about it; undefined: nothing is. */
export function outgoingEntryProblem(entry: string): string | undefined {
  const [, network = entry, bits] = RANGE.exec(entry) ?? [];
  const version = isIP(network);
  if (version !== 0 && Number(bits ?? 0) <= (version === 6 ? 128 : 32)) return undefined;
  const isName = NAME.test(entry) && !NUMBER.test(entry.split(".").at(-1) ?? "");
  if (isName && version === 0) return undefined;
  return 'is no host; write "hooks.example.org", "*.example.org", "203.0.113.7" or "10.0.0.0/8"';
}

/** The hosts that the platform may connect to beside this machine itself: names, names below a domain, and networks. */
export class OutgoingHosts {
  readonly #names = new Set<string>();
  readonly #domains: string[] = [];
  readonly #networks = new BlockList();

  /** Of entries that `outgoingEntryProblem` finds nothing wrong with. */
  constructor(entries: readonly string[]) {
    for (const entry of entries) {
      const [, network = entry, bits] = RANGE.exec(entry) ?? [];
      const version = isIP(network);
      if (version !== 0) {
        const type = version === 6 ? "ipv6" : "ipv4";
        this.#networks.addSubnet(network, Number(bits ?? (version === 6 ? 128 : 32)), type);
      } else if (entry.startsWith("*.")) this.#domains.push(entry.slice(1));
      else this.#names.add(entry);
    }
  }

  /** Whether this name, in lower case, may be looked up and connected to. */
  hasName(name: string): boolean {
    return this.#names.has(name) || this.#domains.some((domain) => name.endsWith(domain) && name !== domain);
  }

  /** Whether an IP address is in one of the networks. */
  hasAddress(address: string): boolean {
    return this.#networks.check(address, isIP(address) === 6 ? "ipv6" : "ipv4");
  }
}

/** The code of the error of a host that the operator's list has not. */
export const NOT_OUTGOING = "ENOTOUTGOING";

/** Whether what was asked for leads to this machine by its own name or number. */
function isThisMachine(host: string): boolean {
  return host === "localhost" || host.endsWith(".localhost") || networkOfAddress(host) === "loopback";
}

/** A host as lists are compared with it. */
const plain = (host: string) =>
  host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, "$1")
    .replace(/%.*$/, "")
    .replace(/(?<=.)\.$/, "");

function refusal(host: string, why: string): NodeJS.ErrnoException {
  const message = `the platform may not connect to "${host.slice(0, 253)}": ${why}. Add it to "hosts" in outgoing.json, if it should`;
  return Object.assign(new Error(message), { code: NOT_OUTGOING });
}

/** Why these hosts do not have one; undefined: they do, or it is this machine, or a name whose addresses count too. */
export function refusedHost(hosts: OutgoingHosts | undefined, asked: string): Error | undefined {
  const host = plain(asked);
  if (hosts === undefined || isThisMachine(host)) return undefined;
  if (isIP(host) !== 0) {
    return hosts.hasAddress(host) ? undefined : refusal(asked, "no network of the operator's list has this address");
  }
  return hosts.hasName(host) ? undefined : refusal(asked, "the operator's list does not name it");
}

const isReachable = (hosts: OutgoingHosts, address: string) =>
  networkOfAddress(address) === "public" || hosts.hasAddress(address);

/**
 * A lookup that asks `lookup` for names which these hosts have, and no name server about any other: who may not be reached is
 * not told that somebody tried. A name may lead to public addresses; elsewhere, where a name server of somebody else's must
 * lead nobody (DNS rebinding), only if a listed network has the address as well.
 */
export function narrowedLookup(hosts: OutgoingHosts, lookup: LookupFunction): LookupFunction {
  return (asked, options, done) => {
    const name = plain(asked);
    const refused = refusedHost(hosts, asked);
    if (refused !== undefined) return process.nextTick(done, refused, []);
    lookup(asked, { ...options, all: true }, (error, found) => {
      if (error || !Array.isArray(found)) return done(error, found);
      const reachable = found.filter(
        ({ address }) => isThisMachine(name) || isReachable(hosts, reachedAddress(address)),
      );
      const [first] = reachable;
      if (first === undefined) {
        const at = found.map(({ address }) => address).join(", ") || "nowhere";
        return done(
          refusal(asked, `it leads to ${at}, which is not public, and in no network of the operator's list`),
          [],
        );
      }
      if (options.all) done(null, reachable);
      else done(null, first.address, first.family);
    });
  };
}
