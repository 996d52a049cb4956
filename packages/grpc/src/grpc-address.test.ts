import { expect, test } from "vitest";
import { parseGrpcAddress } from "./grpc-address.ts";

test.each([
  ["grpc://127.0.0.1:50051", { secure: false, host: "127.0.0.1", authority: "127.0.0.1:50051", loopback: true }],
  ["grpc://[::1]:1", { secure: false, host: "::1", authority: "[::1]:1", loopback: true }],
  ["grpcs://node.example:443", { secure: true, host: "node.example", authority: "node.example:443", loopback: false }],
  [
    "grpc://127.evil.example:1",
    { secure: false, host: "127.evil.example", authority: "127.evil.example:1", loopback: false },
  ],
])("%s is read", (text, address) => {
  expect(parseGrpcAddress(text)).toEqual(address);
});

test.each(["", "127.0.0.1:1", "http://a:1", "grpc://a", "grpc://a:99999", "grpc://a:1/b", "grpc://u@a:1"])(
  "%j is refused",
  (text) => {
    expect(() => parseGrpcAddress(text)).toThrow("is no gRPC address");
  },
);
