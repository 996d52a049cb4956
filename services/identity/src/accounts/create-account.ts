import { sql } from "kysely";
import { loginTaken, rolesUnknown } from "../errors.ts";
import type { Queries } from "../identity-tables.ts";
import { v7 } from "../uuid.ts";

/** What an account begins with. */
export interface NewAccount {
  readonly kind: "user" | "service";
  readonly login: string;
  readonly displayName: string;
  readonly email?: string;
  readonly roles: readonly string[];
  /** Who made it ("user:0192…", "set-up link"). */
  readonly createdBy: string;
  readonly clientSecretSha256?: Buffer;
}

/** Adds an account with its roles and answers with its id. @throws HmsError ALREADY_EXISTS or NOT_FOUND of a role. */
export async function createAccount(queries: Queries, account: NewAccount): Promise<string> {
  const { kind, login, displayName, email = "", roles, createdBy, clientSecretSha256 = null } = account;
  const made = await queries
    .insertInto("account")
    .values({
      account_id: v7(),
      kind,
      login,
      display_name: displayName,
      email,
      created_by: createdBy,
      client_secret_sha256: clientSecretSha256,
    })
    .onConflict((conflict) => conflict.column("login").doNothing())
    .returning("account_id")
    .executeTakeFirst();
  if (made === undefined) throw loginTaken(login);
  // Whoever holds a set-up link could make an admin.
  if (kind === "user") await queries.deleteFrom("link").where("purpose", "=", "set-up").execute();
  await bindRoles(queries, { accountId: made.account_id, roles, boundBy: createdBy });
  return made.account_id;
}

/** Binds roles to an account, beside those it has. @throws HmsError NOT_FOUND with every role that does not exist. */
export async function bindRoles(
  queries: Queries,
  { accountId, roles, boundBy }: { accountId: string; roles: readonly string[]; boundBy: string },
): Promise<void> {
  if (roles.length === 0) return;
  await assertRoles(queries, roles);
  await sql`insert into role_binding (account_id, role, bound_by)
    select ${accountId}, unnest(${[...roles]}::text[]), ${boundBy} on conflict do nothing`.execute(queries);
}

/** @throws HmsError NOT_FOUND with every role that does not exist. */
export async function assertRoles(queries: Queries, roles: readonly string[]): Promise<void> {
  const found = await queries
    .selectFrom("role")
    .select("name")
    .where("name", "in", [...roles])
    .forShare()
    .execute();
  const known = new Set(found.map(({ name }) => name));
  const unknown = roles.filter((role) => !known.has(role));
  if (unknown.length > 0) throw rolesUnknown(unknown);
}
