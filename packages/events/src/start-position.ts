import { HmsError } from "@hms/kernel/errors";
import { sql } from "kysely";
import { type EventDatabase, rowsOf } from "./event-database.ts";
import { readHead } from "./head-watch.ts";
import { positionBefore } from "./log-parts.ts";
import type { StartFrom } from "./subscription-options.ts";

/**
 * The position behind which reading begins.
 * @throws HmsError OUT_OF_RANGE if the log no longer holds the position asked for, or does not hold it yet.
 */
export async function startPosition(database: EventDatabase, from: StartFrom): Promise<number> {
  if (from === "new") return await readHead(database);
  const [range] = await rowsOf(
    database,
    sql<{ first: number; head: number }>`
      select coalesce((select min(first_position) from part), position + 1)::float8 as first, position::float8 as head from head`,
  );
  const { first, head } = range ?? { first: 1, head: 0 };
  if (from === "start") return first - 1;
  if ("time" in from) return await positionBefore(database, from.time);
  const { position } = from;
  if (Number.isSafeInteger(position) && position >= first && position <= head + 1) return position - 1;
  throw new HmsError("OUT_OF_RANGE", `The log holds ${first} to ${head}; it cannot be read from ${position} on.`, {
    reason: "NO_SUCH_POSITION",
    metadata: { first: String(first), last: String(head) },
  });
}
