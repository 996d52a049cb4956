import { expect, test } from "vitest";
import type { LogRow } from "./event-row.ts";
import { PageSize } from "./page-size.ts";

const rows = (count: number, bytes: number) =>
  Array.from({ length: count }, () => ({ data: Buffer.alloc(bytes) }) as LogRow);

test("pages grow to a thousand small events, and shrink to eight of the largest", () => {
  const size = new PageSize();
  expect(size.rows).toBe(64);
  for (let n = 0; n < 5; n += 1) size.learn(rows(size.rows, 100));
  expect(size.rows).toBe(1000);
  size.learn(rows(4, 256 * 1024));
  expect(size.rows).toBe(8);
  size.learn([]);
  expect(size.rows).toBe(8);
});
