import { openServiceDatabase } from "@hms/postgres";
import { machineSlowness, openDeafSource, openTestDatabase, waitFor } from "@hms/testkit";
import { expect, test } from "vitest";
import { IdentityChanges } from "../identity-changes.ts";
import type { IdentityTables } from "../identity-tables.ts";
import { identityMigrations, openAccountBook } from "../index.ts";

/** How soon roles are looked at again. */
const LOOK_AGAIN_MS = 5_000;

test("what a role permits is known to every process within 5 s, also if nobody hears that it has changed", async () => {
  const options = { service: "identity", migrations: identityMigrations };
  await using own = await openTestDatabase<IdentityTables>(options);
  await using deaf = await openDeafSource(own.source);
  await using elsewhere = await openServiceDatabase<IdentityTables>({ ...options, source: deaf.source });
  await using book = await openAccountBook(elsewhere);
  await using changes = await IdentityChanges.open(own.database);
  let told = 0;
  book.roles.follow(() => (told += 1));
  const began = performance.now();
  await own.database.db
    .insertInto("role")
    .values({ name: "packer", permissions: ["services:read"] })
    .execute();
  await changes.tell("roles");
  const describe = "the role to be known";
  await waitFor(() => book.roles.permits(["packer"], "services:read"), { deadlineMs: 20_000, describe });
  expect(performance.now() - began).toBeLessThan(LOOK_AGAIN_MS + 500 * (await machineSlowness()));
  expect(told).toBe(1);
  // It may have been found by looking before word of it came.
  await waitFor(() => deaf.lost > 0, { describe: "the notification to get lost" });
});
