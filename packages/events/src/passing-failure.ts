import type { HmsError } from "@hms/kernel/errors";

/** PostgreSQL's undefined_table: between finding a day's partition and reading it, it was dropped. */
const DROPPED = "42P01";

/** True for what the next try does away with: the database is away, two collided, or a day's partition just went. */
export function isPassing({ code, details }: HmsError): boolean {
  return code === "UNAVAILABLE" || code === "ABORTED" || details.metadata?.sqlstate === DROPPED;
}
