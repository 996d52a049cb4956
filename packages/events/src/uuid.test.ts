import { expect, test } from "vitest";
import { uuidV7 } from "./uuid.ts";

test("a UUID of version 7 begins with the time and is like no other", () => {
  const before = Date.now();
  const ids = Array.from({ length: 1000 }, uuidV7);
  expect(new Set(ids).size).toBe(1000);
  for (const id of ids) {
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    const time = Number.parseInt(id.replace("-", "").slice(0, 12), 16);
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(Date.now());
  }
});
