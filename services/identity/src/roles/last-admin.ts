import { activeHolders, lockAdmins } from "../accounts/account-store.ts";
import { lastAdmin } from "../errors.ts";
import type { Queries } from "../identity-tables.ts";

/**
 * Does work in a transaction that may take the role admin from somebody, while nobody else can.
 * @throws HmsError FAILED_PRECONDITION if there was an active admin before, and is none after it; those who have never
 * chosen a password count only as long as no admin has.
 */
export async function keepingAnAdmin<T>(queries: Queries, work: () => Promise<T>): Promise<T> {
  await lockAdmins(queries);
  const before = await activeHolders(queries, "admin");
  const done = await work();
  const after = await activeHolders(queries, "admin");
  const loses = (counts: (admin: { canSignIn: boolean }) => boolean) => before.some(counts) && !after.some(counts);
  if (loses(() => true) || loses(({ canSignIn }) => canSignIn)) throw lastAdmin();
  return done;
}
