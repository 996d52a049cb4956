import { expect, test } from "vitest";
import { parseNetworkAddress } from "./index.ts";

test.each(["tls://0.0.0.0:7443", "tls://[::]:7443", "tls://hms.example.org:1"])("%s can be listened at", (address) => {
  expect(parseNetworkAddress(address)).toBe(address);
});

test.each([
  "tcp://0.0.0.0:7443",
  "tls://0.0.0.0",
  "tls://0.0.0.0:0",
  "tls://a:70000",
  "0.0.0.0:7443",
  "tls://a:1/b",
  "",
])("%j is nowhere, and it is said what is", (address) => {
  expect(() => parseNetworkAddress(address)).toThrow("tls://HOST:PORT");
});

test("none is nobody", () => {
  expect(parseNetworkAddress("none")).toBeUndefined();
});
