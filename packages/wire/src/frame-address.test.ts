import { expect, test } from "vitest";
import { formatFrameAddress, parseFrameAddress } from "./frame-address.ts";

test.each([
  ["unix:/run/hms/a.sock", { kind: "unix", path: "/run/hms/a.sock" }],
  ["tcp://127.0.0.1:80", { kind: "tcp", host: "127.0.0.1", port: 80 }],
  ["tcp://[::1]:80", { kind: "tcp", host: "::1", port: 80 }],
  ["tls://node-2.example:8443", { kind: "tls", host: "node-2.example", port: 8443 }],
  ["tls://10.0.0.2:8443", { kind: "tls", host: "10.0.0.2", port: 8443 }],
] as const)("%s is read and written", (text, address) => {
  expect(parseFrameAddress(text)).toEqual(address);
  expect(formatFrameAddress(parseFrameAddress(text))).toBe(text);
});

test.each([
  "",
  "unix:relative",
  "/run/a.sock",
  "http://127.0.0.1:1",
  "tcp://127.0.0.1",
  "tls://a:65536",
  "tls://a:1/b",
])("%j is refused as no address", (text) => {
  expect(() => parseFrameAddress(text)).toThrow("is no address for frames");
});

test.each(["tcp://10.0.0.1:1", "tcp://localhost:1", "tcp://127.evil.example:1", "tcp://[::]:1"])(
  "%s is refused because calls would leave the machine unencrypted",
  (text) => {
    expect(() => parseFrameAddress(text)).toThrow("unencrypted");
  },
);
