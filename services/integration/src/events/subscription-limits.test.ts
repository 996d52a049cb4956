import type { Principal } from "@hms/kernel";
import { expect, test } from "vitest";
import { DeliveryQueue } from "./delivery-queue.ts";
import { SubscriptionPlaces } from "./subscription-places.ts";

test("what waits for a slow subscriber takes no more memory than it may, and the newest stay", async () => {
  const limits = { most: 1_000, mostBytes: 1_000, bytesOf: (value: string) => value.length };
  const queue = new DeliveryQueue<string>(limits);
  for (let n = 0; n < 100; n += 1) queue.offer(String(n).padStart(100));
  const leave = new AbortController();
  const got: number[] = [];
  for await (const value of queue.read(leave.signal)) if (got.push(Number(value)) === 10) break;
  expect(got).toEqual([90, 91, 92, 93, 94, 95, 96, 97, 98, 99]);
  queue.offer("x".repeat(5_000));
  for await (const value of queue.read(leave.signal)) {
    expect(value).toHaveLength(5_000);
    break;
  }
});

test("a principal has a thousand subscriptions at most, and gets the place of one that has ended", () => {
  const places = new SubscriptionPlaces();
  const evil: Principal = { kind: "service", id: "evil" };
  const [first] = Array.from({ length: 1_000 }, () => places.take(evil));
  expect(() => places.take(evil)).toThrow(expect.objectContaining({ code: "RESOURCE_EXHAUSTED" }));
  places.take({ kind: "service", id: "other" });
  for (let n = 0; n < 2_000; n += 1) places.take({ kind: "operator", id: "operator" });
  first?.[Symbol.dispose]();
  places.take(evil);
});
