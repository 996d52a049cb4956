import { type CallContext, HmsError } from "@hms/kernel";
import { sql } from "kysely";
import type { AccountFacts, accountFacts } from "./account-store.ts";
import { visibleAccounts } from "./visible-accounts.ts";

/** What a page of people is asked for with. */
export interface PeopleQuestion {
  readonly query: string;
  /** 0: 100. */
  readonly pageSize: number;
  readonly pageToken: string;
}

/** A page of the people whom a caller may see, in the order of their logins. @throws HmsError INVALID_ARGUMENT for a token that is none of ours. */
export async function listPeople(
  from: ReturnType<typeof accountFacts>,
  { query, pageSize, pageToken }: PeopleQuestion,
  context: CallContext,
): Promise<{ accounts: AccountFacts[]; nextPageToken: string }> {
  const limit = pageSize === 0 ? 100 : pageSize;
  const pattern = `%${query.toLowerCase().replace(/[%_\\]/g, "\\$&")}%`;
  const begin = lastLogin(pageToken);
  const found = await visibleAccounts(context).page({
    limit: limit + 1,
    read: (page) =>
      from
        .where("kind", "=", "user")
        .where("login", ">", page.after?.login ?? begin)
        .where(
          sql<boolean>`(lower(login) like ${pattern} or lower(display_name) like ${pattern} or lower(email) like ${pattern})`,
        )
        .where(page.where)
        .orderBy("login")
        .limit(page.limit)
        .execute(),
    throwIfEnded: () => context.throwIfEnded(),
  });
  const accounts = found.slice(0, limit);
  const last = found.length > limit ? (accounts.at(-1)?.login ?? "") : "";
  return { accounts, nextPageToken: Buffer.from(last).toString("base64url") };
}

function lastLogin(token: string): string {
  const login = Buffer.from(token, "base64url").toString();
  if (/^[a-z0-9._@+-]{0,100}$/.test(login)) return login;
  const description = "is not a token of an earlier page; leave it out to begin anew.";
  throw new HmsError("INVALID_ARGUMENT", `page_token ${description}`, {
    fieldViolations: [{ field: "page_token", description }],
  });
}
