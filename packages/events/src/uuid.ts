import { randomUUID } from "node:crypto";

/** A UUID of version 7 (RFC 9562): begins with the time, so that indexes of ids grow at their end. */
export function uuidV7(): string {
  const time = Date.now().toString(16).padStart(12, "0");
  // Node keeps random numbers in store for version 4, whose last 18 digits are made alike.
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}
