import { expect, test } from "vitest";
import { networkOf } from "./attempt-throttle.ts";

test("a network is an IPv4 address, or the first 64 bits of an IPv6 address", () => {
  expect(networkOf("192.0.2.7")).toBe("192.0.2.7");
  expect(networkOf("::ffff:192.0.2.7")).toBe("192.0.2.7");
  expect(networkOf("2001:db8:0:1:ffff::1")).toBe("2001:db8:0:1");
  expect(networkOf("2001:DB8::5")).toBe(networkOf("2001:0db8:0000:0000:1:2:3:4"));
  expect(networkOf("::1")).toBe("0:0:0:0");
});
