import { create } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { expect, test } from "vitest";
import { usableAddresses, weighAddresses } from "./address-choice.ts";
import type { ChannelScheme } from "./channel.ts";

const scheme = (absent?: string): ChannelScheme => ({
  speaks: "frames",
  codec: "protobuf",
  absent: () => absent,
  open: () => {
    throw new Error("Nothing is opened by choosing.");
  },
});

const instance = create(registry.ServiceInstanceSchema, {
  address: "http://h:80",
  alternativeAddresses: ["grpc://h:1", "tcp://h:2", "unix:/a.sock", "quic://h:3"],
});

test("the nearest address that can be used is chosen, and every other one has a reason", () => {
  const schemes = { unix: scheme("there is no such socket on this machine"), tcp: scheme(), grpc: scheme() };
  expect(usableAddresses(instance, schemes).map(({ address }) => address)).toEqual([
    "tcp://h:2",
    "grpc://h:1",
    "unix:/a.sock",
  ]);
  expect(weighAddresses(instance, schemes).map(({ address, chosen, why }) => [address, chosen, why])).toEqual([
    ["quic://h:3", false, "this program does not speak it"],
    ["unix:/a.sock", false, "there is no such socket on this machine"],
    ["tcp://h:2", true, "the nearest that can be used: frames"],
    ["grpc://h:1", false, "tcp is nearer"],
    ["http://h:80", false, "this program does not speak it"],
  ]);
});
