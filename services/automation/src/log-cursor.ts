import type { LogCursor } from "@hms/durable";
import { invalidField } from "./errors.ts";

const refused = () =>
  invalidField(
    "after",
    "is no cursor of this log: leave it out to read from the beginning, or give the last one that was read.",
  );

function parts(text: string): unknown[] {
  try {
    const read: unknown = JSON.parse(Buffer.from(text, "base64url").toString());
    if (Array.isArray(read)) return read;
  } catch {
    // Told below.
  }
  throw refused();
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const write = (values: unknown[]) => Buffer.from(JSON.stringify(values)).toString("base64url");

/** A place in the log of one step as text. */
export const writeStepCursor = ({ attempt, seq }: LogCursor): string => write([attempt, seq]);

/** A place in the log of a run as text. */
export const writeRunCursor = (position: number): string => write([position]);

/** @throws HmsError INVALID_ARGUMENT */
export function readStepCursor(text: string): LogCursor | undefined {
  if (text === "") return undefined;
  const [attempt, seq, more] = parts(text);
  if (!isCount(attempt) || !isCount(seq) || more !== undefined) throw refused();
  return { attempt, seq };
}

/** @throws HmsError INVALID_ARGUMENT */
export function readRunCursor(text: string): number {
  if (text === "") return 0;
  const [position, more] = parts(text);
  if (!isCount(position) || more !== undefined) throw refused();
  return position;
}
