import type { TextReading } from "./schema-node.ts";

/** Reads a day of the calendar, "2026-11-01". */
export function readDate(text: string): TextReading {
  // What there is not, such as the 31st of April, moves on to another day.
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text) && dayOf(text) === text;
  return isDay ? { value: text } : { problem: 'is no day of the calendar. Write it like "2026-11-01"' };
}

function dayOf(text: string): string | undefined {
  const time = Date.parse(`${text}T00:00:00Z`);
  return Number.isNaN(time) ? undefined : new Date(time).toISOString().slice(0, 10);
}

/** The first second of a day that `readDate` has read, in seconds since 1970. */
export function secondsOfDate(text: string): number {
  return Date.parse(`${text}T00:00:00Z`) / 1000;
}
