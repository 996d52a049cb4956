import { type RowsAsThings, visibleRows } from "@hms/authorization";
import type { CallContext } from "@hms/kernel";
import { sql } from "kysely";
import { accountUnknown } from "../errors.ts";
import type { Queries } from "../identity-tables.ts";
import { type AccountFacts, type AccountRow, accountOf, GROUPS } from "./account-store.ts";

/** Policies name an account by its login; it is its own owner, and in its groups. */
const THINGS: RowsAsThings<AccountFacts> = {
  columns: { name: sql.ref("login"), owner: sql`account.kind || ':' || account.account_id`, groups: GROUPS },
  thingOf: ({ login: name, kind, account_id: id, groups }) => ({ name, facts: { owner: `${kind}:${id}`, groups } }),
};

/** The accounts that a caller may use by the method's permission. */
export const visibleAccounts = (context: CallContext) => visibleRows(context.filter(), THINGS);

/**
 * The account that a request names, by id or login: whichever it is, policies are asked about the login, and about what
 * else is known of it.
 * @throws HmsError NOT_FOUND if there is none, not of that kind, or none that the caller may know of
 */
export async function accountFor(
  queries: Queries,
  context: CallContext,
  { name, kind }: { name: string; kind?: AccountRow["kind"] },
): Promise<AccountFacts> {
  const found = await accountOf(queries, name, kind);
  if (!visibleAccounts(context).allows(found)) throw accountUnknown(name);
  return found;
}
