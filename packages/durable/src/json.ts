import { HmsError } from "@hms/kernel/errors";

/** A value that JSON can hold. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The most bytes that an output, or a run's inputs, may have as JSON. */
const MOST_JSON_BYTES = 64 * 1024;

const problemOf = (text: string, mostBytes: number): string | undefined => {
  if (Buffer.byteLength(text) > mostBytes) {
    return `has ${Buffer.byteLength(text)} bytes as JSON, more than ${mostBytes}: store it elsewhere and say where`;
  }
  if (text.includes("\\u0000"))
    return "has a text with a NUL character, which PostgreSQL does not store: leave it out, or write it as base64";
  if (/\\ud[89a-f]/i.test(text))
    return "has a text that is not well-formed Unicode (half of a surrogate pair): write it as base64";
  return undefined;
};

/**
 * A value as JSON (at most 64 KiB, or `mostBytes`); undefined becomes null.
 * @throws HmsError INVALID_ARGUMENT naming `what` if it is too large, holds what PostgreSQL cannot store, or is not JSON.
 */
export function toStoredJson(value: unknown, what: string, mostBytes = MOST_JSON_BYTES): string {
  const refuse = (why: string, cause?: unknown) =>
    new HmsError("INVALID_ARGUMENT", `${what} ${why}.`, { reason: "VALUE_NOT_STORABLE", cause });
  let text: string;
  try {
    text = JSON.stringify(value) ?? "null";
  } catch (error) {
    throw refuse(`is not JSON (${(error as Error).message}): give plain values`, error);
  }
  const problem = problemOf(text, mostBytes);
  if (problem) throw refuse(problem);
  return text;
}
