import type { CallContext } from "@hms/kernel";
import { keepingAnAdmin } from "../roles/last-admin.ts";
import type { ServiceGround } from "../service-ground.ts";
import type { AccountFacts, AccountRow } from "./account-store.ts";
import { endEverything } from "./take-away.ts";
import { accountFor } from "./visible-accounts.ts";

/** Whose activity changes, and to what. */
export interface ActivityChange {
  readonly name: string;
  readonly kind: AccountRow["kind"];
  readonly active: boolean;
}

/**
 * Deactivates an account, which ends everything by which it can come in, or lets it in again.
 * @throws HmsError PERMISSION_DENIED if it may do what the caller may not, FAILED_PRECONDITION for the last admin.
 */
export async function setActive(
  ground: ServiceGround,
  context: CallContext,
  change: ActivityChange,
): Promise<AccountFacts> {
  const { database, changes, actingFor } = ground;
  const { active } = change;
  const account = await database.transaction(async (queries) => {
    const found = await accountFor(queries, context, change);
    actingFor.assertCovers(context.principal, found.roles);
    const update = queries.updateTable("account").set({ active }).where("account_id", "=", found.account_id);
    await keepingAnAdmin(queries, () => update.execute());
    if (!active) await endEverything(queries, found.account_id);
    return { ...found, active };
  });
  await changes.tell({ account: account.account_id });
  return account;
}
