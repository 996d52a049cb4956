/** Each problem that is found takes a kilobyte. */
const MANY_VALUES = 10_000;
/** Patterns take two microseconds a character. */
export const LONG_TEXT = 20_000;

/** Whether a message has so many values in it, or such a long text, that not all that is wrong with it is worth knowing. */
export function isLarge(message: unknown): boolean {
  const waiting: unknown[] = [message];
  let left = MANY_VALUES;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const values = Array.isArray(next) ? next : Object.values(next as object);
    left -= values.length;
    if (left < 0) return true;
    for (const value of values) {
      if (typeof value === "string" && value.length > LONG_TEXT) return true;
      if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) waiting.push(value);
    }
  }
  return false;
}
