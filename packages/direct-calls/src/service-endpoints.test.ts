import { create } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { expect, test } from "vitest";
import type { ChannelSchemes } from "./channel.ts";
import { ServiceEndpoints } from "./service-endpoints.ts";

const neverOpened = () => {
  throw new Error("Nobody calls here.");
};
const schemes: ChannelSchemes = { unix: { speaks: "frames", codec: "protobuf", open: neverOpened } };

function foundWith(shares: Readonly<Record<string, number>>) {
  const instances = Object.entries(shares).map(([instanceId, share]) => ({
    instanceId,
    address: `unix:/run/${instanceId}.sock`,
    state: registry.InstanceState.AVAILABLE,
    share,
  }));
  return { entry: create(registry.ServiceEntrySchema, { instances }), tickets: new Map() };
}

test("calls follow the shares that instances are to get", () => {
  const endpoints = new ServiceEndpoints(schemes);
  const found = foundWith({ old: 18_000, tried: 2000, spare: 0 });
  const picked = Array.from({ length: 2000 }, () => endpoints.pick(found, [])?.instanceId);
  const tried = picked.filter((id) => id === "tried").length;
  expect(tried).toBeGreaterThan(120);
  expect(tried).toBeLessThan(290);
  expect(picked).not.toContain("spare");
});

test("an instance without a share gets only what nobody else can take", () => {
  const endpoints = new ServiceEndpoints(schemes);
  const found = foundWith({ tried: 20_000, spare: 0 });
  const tried = endpoints.pick(found, []);
  expect(tried?.instanceId).toBe("tried");
  if (tried) expect(endpoints.pick(found, [tried])?.instanceId).toBe("spare");
  expect(endpoints.pick(foundWith({ one: 0 }), [])?.instanceId).toBe("one");
});

test("one replica is called by its name, whatever its share", () => {
  const endpoints = new ServiceEndpoints(schemes);
  const found = foundWith({ usual: 10_000, tried: 0 });
  const [, tried] = found.entry.instances;
  if (tried) tried.replica = "default/echo/2/1";
  expect(endpoints.ofReplica(found, "default/echo/2/1")?.instanceId).toBe("tried");
  expect(endpoints.ofReplica(found, "default/echo/9/9")).toBeUndefined();
});

test("an instance whose share changes keeps its connection and what is known of it", () => {
  const endpoints = new ServiceEndpoints(schemes);
  const before = endpoints.pick(foundWith({ a: 0 }), []);
  expect(before?.isSpare).toBe(true);
  expect(endpoints.pick(foundWith({ a: 10_000 }), [])).toBe(before);
  expect(before?.isSpare).toBe(false);
});
