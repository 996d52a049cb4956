/** An address as clients are counted and known by: who has one of IPv6 has the 2^64 beside it, too. */
export function clientNetwork(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: Math.max(8 - before.length - after.length, 0) }, () => "0");
  return [...before, ...zeros, ...after].slice(0, 4).join(":");
}

/** The network that an address is told as where a person must not be: "192.0.2.0/24", "2001:db8:1:2::/64". */
export function clientSubnet(address: string): string {
  const octets = address.split(".");
  if (octets.length === 4 && !address.includes(":")) return `${octets.slice(0, 3).join(".")}.0/24`;
  return address.includes(":") ? `${clientNetwork(address)}::/64` : "";
}
