import { activeHolders, lockAdmins } from "../accounts/account-store.ts";
import { lastAdmin } from "../errors.ts";
import type { Queries } from "../identity-tables.ts";

/**
 * Does work in a transaction that may take the role admin from somebody, while nobody else can.
 * @throws HmsError FAILED_PRECONDITION if there was an active admin before, and is none after it.
 */
export async function keepingAnAdmin<T>(queries: Queries, work: () => Promise<T>): Promise<T> {
  await lockAdmins(queries);
  const before = await activeHolders(queries, "admin");
  const done = await work();
  if (before.length > 0 && (await activeHolders(queries, "admin")).length === 0) throw lastAdmin();
  return done;
}
