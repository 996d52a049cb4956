import type { MessageTypes } from "@hms/direct-calls";
import type { FieldViolation } from "@hms/kernel";

const MOST_VIOLATIONS = 50;

/** One reading of a value, and what is wrong with it so far. */
export interface Reading {
  readonly types: MessageTypes;
  readonly violations: FieldViolation[];
  depth: number;
}

/** Where in the value something is. */
export interface Place {
  readonly reading: Reading;
  readonly path: string;
}

/** Notes what is wrong at a place. */
export function complain({ reading, path }: Place, description: string): undefined {
  if (reading.violations.length < MOST_VIOLATIONS) reading.violations.push({ field: path, description });
  return undefined;
}

/** A place inside another. */
export const below = ({ reading, path }: Place, part: string | number): Place => ({
  reading,
  path: typeof part === "number" ? `${path}[${part}]` : path === "" ? part : `${path}.${part}`,
});

/** A value as messages to people show it. */
export function shown(value: unknown): string {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Uint8Array) return "bytes";
  if (typeof value === "function" || typeof value === "symbol") return `a ${typeof value}`;
  try {
    return JSON.stringify(value, withoutBigints)?.slice(0, 60) ?? String(value);
  } catch {
    // It holds itself.
    return "something endless";
  }
}

const withoutBigints = (_: string, item: unknown) => (typeof item === "bigint" ? `${item}n` : item);
