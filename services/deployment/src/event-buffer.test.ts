import type { JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { EventBuffer } from "./event-buffer.ts";

const full = () => ({ full: true });

test("events that could not be written are tried again with the next ones, in order", async () => {
  const written: unknown[] = [];
  let isAway = true;
  const buffer = new EventBuffer(async (events) => {
    if (isAway) throw new Error("away");
    written.push(...events);
  }, full);
  buffer.add({ n: 1 });
  await expect(buffer.flush()).rejects.toThrow("away");
  isAway = false;
  buffer.add({ n: 2 });
  await buffer.flush();
  expect(written).toEqual([{ n: 1 }, { n: 2 }]);
});

test.each([
  ["events", { n: 1 }, 5000],
  ["text", { text: "x".repeat(16 * 1024) }, 255],
])(
  "of a step that says too many %s the rest is left out, which is said once; the next step begins anew",
  async (_, event, kept) => {
    const written: JsonObject[] = [];
    const buffer = new EventBuffer(async (events) => void written.push(...events), full);
    for (let index = 0; index < 6000; index += 1) buffer.add(event);
    await buffer.flush();
    expect(written.splice(0)).toEqual([...Array.from({ length: kept }, () => event), full()]);
    buffer.add(event);
    await buffer.flush();
    expect(written).toEqual([event]);
  },
);
