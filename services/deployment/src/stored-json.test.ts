import { expect, test } from "vitest";
import { EventBuffer } from "./event-buffer.ts";
import { storedJson, storedText } from "./stored-json.ts";

test("what a program says is kept, but for what PostgreSQL refuses", () => {
  expect(storedText("a\0b")).toBe("a\ufffdb");
  expect(storedText(`${"x".repeat(3)}😀`.slice(0, 4))).toBe("xxx\ufffd");
  expect(storedText("whole 😀")).toBe("whole 😀");
  expect(JSON.parse(storedJson({ said: ["\0", { deep: "\ud83d" }], revision: 1, none: null }))).toEqual({
    said: ["\ufffd", { deep: "\ufffd" }],
    revision: 1,
    none: null,
  });
});

test("events that could not be written are tried again with the next ones, in order", async () => {
  const written: unknown[] = [];
  let isAway = true;
  const buffer = new EventBuffer(async (events) => {
    if (isAway) throw new Error("away");
    written.push(...events);
  });
  buffer.add({ n: 1 });
  await expect(buffer.flush()).rejects.toThrow("away");
  isAway = false;
  buffer.add({ n: 2 });
  await buffer.flush();
  expect(written).toEqual([{ n: 1 }, { n: 2 }]);
});
