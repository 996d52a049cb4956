/** Whether a message has more values in it than a limit, whatever its shape; stops counting there. */
export function hasMoreValues(message: unknown, limit: number): boolean {
  const waiting: unknown[] = [message];
  let left = limit;
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const values = Array.isArray(next) ? next : Object.values(next as object);
    left -= values.length;
    if (left < 0) return true;
    for (const value of values) {
      if (typeof value === "object" && value !== null && !ArrayBuffer.isView(value)) waiting.push(value);
    }
  }
  return false;
}
