import { expect, test } from "vitest";
import { SharedReads } from "./shared-reads.ts";

/** Readings that end when they are told to; each answers with its number. */
function fixture() {
  const reads = new SharedReads<number>();
  const ends: ((failure?: Error) => void)[] = [];
  const work = () => {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const number = ends.push((failure) => (failure ? reject(failure) : resolve(number)));
    return promise;
  };
  return { ends, read: (name = "a") => reads.read(name, work) };
}

test("who asks while a reading is under way shares the next, which begins afterwards", async () => {
  const { read, ends } = fixture();
  const first = read();
  const others = [read(), read(), read()];
  expect(ends).toHaveLength(1);
  ends[0]?.();
  expect(await first).toBe(1);
  await Promise.resolve();
  expect(ends).toHaveLength(2);
  const late = read();
  ends[1]?.();
  expect(await Promise.all(others)).toEqual([2, 2, 2]);
  await Promise.resolve();
  ends[2]?.();
  expect(await late).toBe(3);
});

test("readings of other names do not wait for each other", async () => {
  const { read, ends } = fixture();
  const both = [read("a"), read("b")];
  for (const end of ends) end();
  expect(await Promise.all(both)).toEqual([1, 2]);
});

test("a reading that fails fails for those who shared it, and the next is read", async () => {
  const { read, ends } = fixture();
  const first = read();
  const second = read();
  ends[0]?.(new Error("away"));
  await expect(first).rejects.toThrow("away");
  ends[1]?.();
  expect(await second).toBe(2);
});
