import { expect, test } from "vitest";
import { networkOfAddress } from "./address-network.ts";

test.each([
  ["loopback", ["127.0.0.1", "127.88.0.53", "::1", "[::1]", "::ffff:127.0.0.1", "0:0:0:0:0:0:0:1", "::ffff:7f00:1"]],
  ["special", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fe80::1%eth0", "0.0.0.0", "::", "224.0.0.1"]],
  [
    "special",
    ["255.255.255.255", "fd00:ec2::254", "100.100.100.200", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "ff02::1"],
  ],
  ["private", ["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.0.0.1"]],
  ["public", ["1.1.1.1", "172.32.0.1", "2606:4700::1111", "203.0.113.9"]],
  [undefined, ["localhost", "example.org", "2130706433", "0x7f.1", "127.1", "", "1.2.3.4.5"]],
] as const)("leads to %s: %j", (kind, hosts) => {
  for (const host of hosts) expect([host, networkOfAddress(host)]).toEqual([host, kind]);
});
