import { create } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { describe, expect, test } from "vitest";
import { usableAddresses, weighAddresses } from "./address-choice.ts";
import type { ChannelScheme } from "./channel.ts";
import { preferring, type TRANSPORTS } from "./preferred-schemes.ts";

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

describe("a preferred transport", () => {
  const offered = create(registry.ServiceInstanceSchema, {
    address: "unix:/a.sock",
    alternativeAddresses: ["tcp://h:2", "tls://h:3", "http://h:80"],
  });
  const all = { unix: scheme(), tcp: scheme(), tls: scheme(), http: scheme() };
  const chosenBy = (transport: (typeof TRANSPORTS)[number], schemes: Record<string, ChannelScheme> = all) =>
    weighAddresses(offered, preferring(schemes, transport)).find(({ chosen }) => chosen);

  test.each([
    ["auto", "unix", "the nearest that can be used"],
    ["in_process", "unix", "the nearest that can be used"],
    ["local_socket", "unix", "transport.default is local_socket"],
    ["tcp", "tcp", "transport.default is tcp"],
    ["tls", "tls", "transport.default is tls"],
    ["grpc", "tls", "transport.default is grpc"],
    ["http", "http", "transport.default is http"],
  ] as const)("%s takes %s", (transport, taken, reason) => {
    expect(chosenBy(transport)).toMatchObject({ scheme: taken, why: `${reason}: frames` });
    expect(usableAddresses(offered, preferring(all, transport))[0]?.address.startsWith(taken)).toBe(true);
  });

  test("gives way to the nearest where the instance does not offer it, or it cannot be used", () => {
    const without = { unix: scheme(), tcp: scheme(), tls: { ...scheme(), unusable: () => "no certificate" } };
    for (const transport of ["tls", "grpc", "http"] as const) {
      expect(chosenBy(transport, without)).toMatchObject({
        scheme: "unix",
        why: "the nearest that can be used: frames",
      });
    }
  });

  test("is the reason that nearer ones are not taken", () => {
    const weighed = weighAddresses(offered, preferring(all, "tls"));
    expect(weighed.map(({ scheme: name, why }) => [name, why])).toEqual([
      ["tls", "transport.default is tls: frames"],
      ["unix", "tls is preferred"],
      ["tcp", "tls is preferred"],
      ["http", "tls is preferred"],
    ]);
  });
});
