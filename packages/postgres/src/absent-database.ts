import { HmsError } from "@hms/kernel";
import { Kysely, PostgresDialect } from "kysely";
import type { ServiceDatabase } from "./service-database.ts";

/** A service's part of a database that is away: whatever is asked of it is refused as by one that does not run. */
export function absentDatabase<Schema>(service: string): ServiceDatabase<Schema> {
  const refuse = async (): Promise<never> => {
    throw new HmsError("UNAVAILABLE", "The database is away, and the server goes on with what it can do without.", {
      reason: "DATABASE_DOWN",
    });
  };
  const pool = { options: {}, connect: refuse, end: async () => {} };
  return {
    service,
    isolation: { kind: "own-role", role: "" },
    applied: [],
    db: new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) }),
    prepared: refuse,
    transaction: refuse,
    withAdvisoryLock: refuse,
    listen: refuse,
    notify: refuse,
    waitUntilUp: refuse,
    connections: { total: 0, inUse: 0 },
    [Symbol.asyncDispose]: async () => {},
  };
}
