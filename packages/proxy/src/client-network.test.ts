import { expect, test } from "vitest";
import { clientNetwork, clientSubnet } from "./client-network.ts";

test.each([
  ["192.0.2.7", "192.0.2.7"],
  ["127.0.0.1", "127.0.0.1"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
  ["2001:db8:1:2::", "2001:db8:1:2"],
  ["2001:db8:1:2::1", "2001:db8:1:2"],
  ["2001:db8:1:2:ffff::1", "2001:db8:1:2"],
  ["2001:db8::1", "2001:db8:0:0"],
  ["2001:db8::3:0:0:0:1", "2001:db8:0:3"],
  ["2001:db8:0:3::1", "2001:db8:0:3"],
  ["::1", "0:0:0:0"],
  ["::", "0:0:0:0"],
  ["fe80::1%eth0", "fe80:0:0:0"],
  ["fe80::1%eth1", "fe80:0:0:0"],
  ["::1:2:3:4:5:6:7", "0:1:2:3"],
  ["1::", "1:0:0:0"],
  ["unknown", "unknown"],
])("limits count %s as %s", (address, network) => {
  expect(clientNetwork(address)).toBe(network);
});

test("who has one address of IPv6 has no second allowance with the next one, and neighbours have their own", () => {
  const own = ["2001:db8:1:2::1", "2001:db8:1:2:aaaa:bbbb:cccc:dddd", "2001:db8:1:2::"].map(clientNetwork);
  expect(new Set(own).size).toBe(1);
  expect(clientNetwork("2001:db8:1:3::1")).not.toBe(own[0]);
});

test.each([
  ["192.0.2.7", "192.0.2.0/24"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["::1", "0:0:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["unknown", ""],
])("events name the network of %s as %s, and no address", (address, network) => {
  expect(clientSubnet(address)).toBe(network);
});
