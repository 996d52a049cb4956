import { openTestDatabase } from "@hms/testkit";
import { expect, test } from "vitest";
import type { IdentityTables } from "../identity-tables.ts";
import { identityMigrations } from "../index.ts";
import { openSetUp } from "./set-up.ts";

test("a set-up link that somebody has been shown stays good over new starts, and any other one ends", async () => {
  await using own = await openTestDatabase<IdentityTables>({ service: "identity", migrations: identityMigrations });
  const first = await openSetUp(own.database);
  expect(await openSetUp(own.database, first)).toBe(first);
  const second = await openSetUp(own.database);
  expect(second).not.toBe(first);
  expect(await openSetUp(own.database, first)).not.toBe(first);
  await own.database.db
    .updateTable("link")
    .set({ expires_at: new Date(0) })
    .execute();
  expect(await openSetUp(own.database, second)).not.toBe(second);
});
