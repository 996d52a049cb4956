import { type LookupAddress, lookup } from "node:dns";
import { isIP, type LookupFunction, Socket } from "node:net";
import { carefulLookup } from "./careful-lookup.ts";
import { narrowedLookup, type OutgoingHosts, refusedHost } from "./outgoing-hosts.ts";

const plainLookup: LookupFunction = (name, options, done) => lookup(name, options, done as never);

let current: () => OutgoingHosts | undefined = () => undefined;

/**
 * Has this process connect to these hosts only, beside its own machine, from the next connection on; undefined, as without
 * this call: to all. Ends when disposed.
 */
export function narrowOutgoing(hosts: () => OutgoingHosts | undefined): Disposable {
  current = hosts;
  return {
    [Symbol.dispose]() {
      if (current === hosts) current = () => undefined;
    },
  };
}

/** Who has said where to connect to. */
export interface OutgoingOptions {
  /** "operator": special networks are not refused. Default "others". */
  readonly by?: "operator" | "others";
}

/**
 * What is given to `net.connect`, `http.request` and everything that is built on them for a host: everything of the platform
 * that goes out takes it from here, so that what the operator allows holds everywhere.
 * @throws Error with the code ENOTOUTGOING for an address in digits that may not be connected to; names end the lookup with it
 */
export function outgoingTo(host: string, { by = "others" }: OutgoingOptions = {}): { readonly lookup: LookupFunction } {
  const hosts = current();
  const refused = isIP(host.replace(/^\[(.*)\]$/, "$1")) === 0 ? undefined : refusedHost(hosts, host);
  if (refused !== undefined) throw refused;
  const base = by === "operator" ? plainLookup : carefulLookup;
  return { lookup: hosts === undefined ? base : narrowedLookup(hosts, base) };
}

/**
 * Where to connect to for a host that the operator has set, for libraries that take no lookup: the host itself if nothing
 * narrows, else one of its addresses that may be connected to. @throws Error with the code ENOTOUTGOING if there is none
 */
export async function outgoingAddress(host: string): Promise<string> {
  const { lookup: ask } = outgoingTo(host, { by: "operator" });
  if (current() === undefined || isIP(host) !== 0) return host;
  return new Promise((resolve, reject) => {
    ask(host, {}, (error, found: string | LookupAddress[]) => (error ? reject(error) : resolve(String(found))));
  });
}

/** A socket for libraries that connect one of theirs: `connect(port, host)` goes where the operator allows. */
export class OutgoingSocket extends Socket {
  override connect(...to: readonly unknown[]): this {
    const [port, host] = to;
    if (typeof port !== "number" || typeof host !== "string") return super.connect(...(to as [never]));
    try {
      return super.connect({ port, host, ...outgoingTo(host, { by: "operator" }) });
    } catch (error) {
      return this.destroy(error as Error);
    }
  }
}
