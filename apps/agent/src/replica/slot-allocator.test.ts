import { createServer } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { SlotAllocator } from "./slot-allocator.ts";

test("a port is given once until it comes back, after those known from before, past those in use", async () => {
  const base = 52_000 + Math.floor(Math.random() * 3000);
  const slots = new SlotAllocator(base);
  expect(slots.reserve(base + 4)).toBe(true);
  expect(slots.reserve(base + 4)).toBe(false);
  expect(slots.reserve(base - 1)).toBe(false);
  expect(slots.reserve(base + 5000)).toBe(false);
  const server = createServer().listen(base + 5, "127.0.0.1");
  onTestFinished(() => void server.close());
  await new Promise((resolve) => server.once("listening", resolve));
  const taken = await Promise.all([slots.take(), slots.take(), slots.take()]);
  expect(new Set(taken).size).toBe(3);
  expect(taken.every((port) => port > base + 5)).toBe(true);
  slots.release(taken[0] ?? 0);
  expect(slots.reserve(taken[0] ?? 0)).toBe(true);
});
