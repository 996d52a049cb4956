import { sql } from "kysely";
import { invalid, linkGone } from "../errors.ts";
import type { IdentityDatabase, Queries } from "../identity-tables.ts";
import { findLink, type GoodLink, useLink } from "./link-store.ts";

/** One address and nothing else: no list, no name, no line that could become a field of a mail. */
const ADDRESS = /^[^\s<>,;:"()[\]\\@\p{Cc}]{1,64}@[^\s<>,;:"()[\]\\@\p{Cc}]{1,189}$/u;

/** @throws HmsError INVALID_ARGUMENT unless it is one mail address, or empty. */
export function checkedAddress(email: string): string {
  if (email === "" || ADDRESS.test(email)) return email;
  const description = "must be one mail address (anna@example.org), without a name or brackets.";
  throw invalid([{ field: "email", description }]);
}

/** Notes that an address is to be proven anew; links that were mailed to the one before end. */
export async function forgetProof(queries: Queries, accountId: string): Promise<void> {
  await queries.updateTable("account").set({ email_verified_at: null }).where("account_id", "=", accountId).execute();
  await queries.deleteFrom("link").where("account_id", "=", accountId).where("email", "is not", null).execute();
}

/** Who used a link that was mailed reads mail at that address: it is theirs, if it is still the account's. */
export async function noteProof(queries: Queries, { accountId, email }: GoodLink): Promise<void> {
  if (accountId === null || email === null) return;
  await queries
    .updateTable("account")
    .set({ email_verified_at: sql`clock_timestamp()` })
    .where("account_id", "=", accountId)
    .where("email", "=", email)
    .execute();
}

/** The address that a link would prove. @throws HmsError NOT_FOUND if it is no good link of that kind. */
export async function addressOfLink({ db }: IdentityDatabase, token: string): Promise<string> {
  const link = await findLink(db, token);
  if (link?.purpose !== "verify" || link.email === null) throw linkGone();
  return link.email;
}

/** Proves an address by its link, and uses the link up. @throws HmsError NOT_FOUND if it is not good. */
export async function proveAddress(database: IdentityDatabase, token: string): Promise<string> {
  await addressOfLink(database, token);
  return database.transaction(async (queries) => {
    const link = await useLink(queries, token);
    if (link?.purpose !== "verify" || link.accountId === null) throw linkGone();
    await noteProof(queries, link);
    return link.accountId;
  });
}
