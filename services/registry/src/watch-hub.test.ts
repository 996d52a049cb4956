import { create } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { HmsError } from "@hms/kernel";
import { expect, test } from "vitest";
import type { ServiceKey } from "./service-key.ts";
import { WatchHub } from "./watch-hub.ts";

const never = new AbortController().signal;
const keyOf = (serviceId: string): ServiceKey => ({ environment: "default", serviceId, version: "v1" });

/** A hub over services whose only label counts their changes. */
function fixture() {
  const counts = new Map<string, number>();
  const readings: string[][] = [];
  let gate = Promise.resolve();
  const hub = new WatchHub(async (keys) => {
    readings.push(keys.map(({ serviceId }) => serviceId));
    await gate;
    return keys.flatMap((key) => {
      const count = counts.get(key.serviceId);
      const metadata = { count: String(count) };
      return count === undefined ? [] : [{ key, entry: create(registry.ServiceEntrySchema, { ...key, metadata }) }];
    });
  });
  const tell = (serviceId: string) => {
    counts.set(serviceId, (counts.get(serviceId) ?? 0) + 1);
    return hub.touch([keyOf(serviceId)]);
  };
  const change = (serviceId: string) => void tell(serviceId);
  const hold = () => {
    const held = Promise.withResolvers<void>();
    gate = held.promise;
    return held.resolve;
  };
  return { hub, counts, readings, change, tell, hold };
}

test("a slow watch gets only the newest state of each service, in the order of their first change", async () => {
  const { hub, change } = fixture();
  const { subscription, leave } = hub.subscribe(() => true, never);
  for (const serviceId of ["a", "b", "a", "a"]) {
    change(serviceId);
    await hub.settled();
  }
  const first = await subscription.next(never);
  const second = await subscription.next(never);
  expect([first.entry?.serviceId, first.entry?.metadata.count]).toEqual(["a", "3"]);
  expect(second.entry?.serviceId).toBe("b");
  leave();
});

test("changes during a reading are read once more, together, for all watches", async () => {
  const { hub, change, hold, readings } = fixture();
  const [one, two] = [hub.subscribe(() => true, never), hub.subscribe(() => true, never)];
  const release = hold();
  change("a");
  for (let index = 0; index < 10; index += 1) change("b");
  change("a");
  release();
  await hub.settled();
  expect(readings).toEqual([["a"], ["b", "a"]]);
  for (const { subscription } of [one, two]) {
    expect((await subscription.next(never)).entry?.metadata.count).toBe("2");
    expect((await subscription.next(never)).entry?.metadata.count).toBe("10");
  }
});

test("a watch hears of its own services only, and nothing is read without a watch", async () => {
  const { hub, change, readings } = fixture();
  change("a");
  await hub.settled();
  expect(readings).toEqual([]);
  const { subscription, leave } = hub.subscribe(({ serviceId }) => serviceId === "b", never);
  change("a");
  change("b");
  await hub.settled();
  expect((await subscription.next(never)).key?.serviceId).toBe("b");
  leave();
  change("b");
  expect(readings).toHaveLength(2);
});

test("a service that has gone is a change without an entry", async () => {
  const { hub, counts, change } = fixture();
  const { subscription } = hub.subscribe(() => true, never);
  change("a");
  counts.delete("a");
  void hub.touch([keyOf("a")]);
  await hub.settled();
  expect(await subscription.next(never)).toEqual({ key: keyOf("a"), entry: undefined });
});

test("a watch that may have missed something ends with the reason", async () => {
  const hub = new WatchHub(async () => {
    throw new HmsError("INTERNAL", "cannot read");
  });
  const { subscription } = hub.subscribe(() => true, never);
  const waiting = subscription.next(never);
  void hub.touch([keyOf("a")]);
  await expect(waiting).rejects.toMatchObject({ message: "cannot read" });
});

test("a change has been offered to every watch when its teller goes on, however many others follow", async () => {
  const { hub, tell, hold } = fixture();
  const { subscription } = hub.subscribe(() => true, never);
  const release = hold();
  const first = tell("a");
  const second = tell("b");
  release();
  await first;
  expect((await subscription.next(never)).entry?.serviceId).toBe("a");
  await second;
  expect((await subscription.next(never)).entry?.serviceId).toBe("b");
});

test("whoever tells of a change goes on when it cannot be read", async () => {
  const hub = new WatchHub(() => Promise.reject(new HmsError("UNAVAILABLE", "away")));
  const { subscription } = hub.subscribe(() => true, never);
  await Promise.all([hub.touch([keyOf("a")]), hub.touch([keyOf("b")])]);
  await expect(subscription.next(never)).rejects.toThrow("away");
  await hub.touch([keyOf("c")]);
});
