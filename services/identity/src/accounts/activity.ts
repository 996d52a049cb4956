import type { Principal } from "@hms/kernel";
import { keepingAnAdmin } from "../roles/last-admin.ts";
import type { ServiceGround } from "../service-ground.ts";
import { type AccountFacts, type AccountRow, accountOf } from "./account-store.ts";
import { endEverything } from "./take-away.ts";

/** Whose activity changes, to what, and who wants it. */
export interface ActivityChange {
  readonly name: string;
  readonly kind: AccountRow["kind"];
  readonly active: boolean;
  readonly principal: Principal;
}

/**
 * Deactivates an account, which ends everything by which it can come in, or lets it in again.
 * @throws HmsError PERMISSION_DENIED if it may do what the caller may not, FAILED_PRECONDITION for the last admin.
 */
export async function setActive(ground: ServiceGround, change: ActivityChange): Promise<AccountFacts> {
  const { database, changes, actingFor } = ground;
  const { name, kind, active, principal } = change;
  const account = await database.transaction(async (queries) => {
    const found = await accountOf(queries, name, kind);
    actingFor.assertCovers(principal, found.roles);
    const update = queries.updateTable("account").set({ active }).where("account_id", "=", found.account_id);
    await keepingAnAdmin(queries, () => update.execute());
    if (!active) await endEverything(queries, found.account_id);
    return { ...found, active };
  });
  await changes.tell({ account: account.account_id });
  return account;
}
