import { HmsError } from "@hms/kernel";
import { linkGone } from "../errors.ts";
import type { IdentityDatabase } from "../identity-tables.ts";
import { admitPassword, type PasswordGround, putPassword } from "../passwords/password-store.ts";
import { createAccount } from "./create-account.ts";
import { createLink, findLink, useLink } from "./link-store.ts";

/**
 * A set-up link's token, as long as nobody has an account; undefined from then on. The one of an earlier start is kept while it
 * is good: somebody may have it before them. All others end.
 */
export function openSetUp(database: IdentityDatabase, earlier?: string): Promise<string | undefined> {
  return database.withAdvisoryLock("set-up", async () => {
    if (await hasPeople(database)) return undefined;
    if (earlier && (await findLink(database.db, earlier))?.purpose === "set-up") return earlier;
    return (await createLink(database.db, "set-up", { accountId: null })).token;
  });
}

async function hasPeople({ db }: IdentityDatabase): Promise<boolean> {
  return (
    (await db.selectFrom("account").select("account_id").where("kind", "=", "user").executeTakeFirst()) !== undefined
  );
}

/** What the first admin gave. */
export interface FirstAdmin {
  readonly token: string;
  readonly login: string;
  readonly password: string;
}

const LOGIN = /^[a-z0-9][a-z0-9._@+-]{0,99}$/;

/** Makes the first admin and uses the link up. @throws HmsError with every problem, NOT_FOUND if the link is not good. */
export async function makeFirstAdmin(
  { database, breached }: PasswordGround,
  { token, login, password }: FirstAdmin,
): Promise<string> {
  const owner = { login, email: "", isAdmin: true };
  if (!LOGIN.test(login)) {
    const description = "must be 1 to 100 lower-case letters, digits and inner . _ @ + -.";
    throw new HmsError("INVALID_ARGUMENT", `login ${description}`, {
      fieldViolations: [{ field: "login", description }],
    });
  }
  const hash = await admitPassword({ database, breached }, undefined, { password, owner });
  return database.transaction(async (queries) => {
    const link = await useLink(queries, token);
    if (link?.purpose !== "set-up") throw linkGone();
    const terms = { kind: "user", login, displayName: login, roles: ["admin"], createdBy: "set-up link" } as const;
    const accountId = await createAccount(queries, terms);
    await putPassword(queries, accountId, hash);
    return accountId;
  });
}
