import { BlockList, isIP } from "node:net";

/**
 * Where an address leads: this machine, a network that is nobody else's business, places that no service is at (link-local,
 * with the metadata services of clouds, unspecified, multicast, reserved), or everywhere else.
 */
export type AddressNetwork = "loopback" | "private" | "special" | "public";

const NETWORKS: Readonly<Record<Exclude<AddressNetwork, "public">, readonly string[]>> = {
  loopback: ["127.0.0.0/8", "::1/128"],
  // What clouds tell their machines at other addresses than link-local ones comes first: Alibaba, Oracle, AWS by IPv6.
  special: [
    ...["0.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200/32"],
    ...["::/128", "fe80::/10", "fec0::/10", "ff00::/8", "fd00:ec2::254/128", "64:ff9b::/96", "2002::/16", "2001::/32"],
  ],
  // RFC 1918, RFC 6598, benchmarks (RFC 2544), RFC 4193.
  private: ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "fc00::/7"],
};

const lists = Object.entries(NETWORKS).map(([kind, ranges]) => {
  const list = new BlockList();
  for (const range of ranges) {
    const [net = "", bits] = range.split("/");
    list.addSubnet(net, Number(bits), net.includes(":") ? "ipv6" : "ipv4");
  }
  return [kind as AddressNetwork, list] as const;
});

/** Where an IP address leads, with or without brackets; undefined for a name. */
export function networkOfAddress(host: string): AddressNetwork | undefined {
  const address = host.replace(/^\[(.*)\]$/, "$1").replace(/%.*$/, "");
  const version = isIP(address);
  if (version === 0) return undefined;
  // IPv6 in which an IPv4 address is mapped counts as that one.
  const found = lists.find(([, list]) => list.check(address, version === 6 ? "ipv6" : "ipv4"));
  return found?.[0] ?? "public";
}
