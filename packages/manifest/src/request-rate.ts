import type { TextReading } from "./schema-node.ts";

/** So many requests in such a time. */
export interface RequestRate {
  readonly count: number;
  readonly periodMs: number;
}

/** What a rate looks like, for editors. */
export const REQUEST_RATE_PATTERN = "^[1-9][0-9]{0,6}/(s|m|h|d)$";

const RATE = new RegExp(REQUEST_RATE_PATTERN);
const PERIODS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Reads "100/m"; undefined if it is no rate. */
export function parseRequestRate(text: string): RequestRate | undefined {
  if (!RATE.test(text)) return undefined;
  const [count, unit = ""] = text.split("/");
  return { count: Number(count), periodMs: PERIODS_MS[unit] ?? 0 };
}

/** Reads a rate as it is written in a manifest. */
export function readRequestRate(text: string): TextReading {
  if (parseRequestRate(text)) return { value: text };
  return { problem: "is no rate. Write a number of requests and s, m, h or d: 10/s, 600/m, 5000/h" };
}
