import { type Selectable, sql } from "kysely";
import { accountUnknown } from "../errors.ts";
import type { IdentityTables, Queries } from "../identity-tables.ts";
import { isUuid } from "../uuid.ts";

/** An account as it lies in the database. */
export type AccountRow = Selectable<IdentityTables["account"]>;

/** An account with what belongs to it. */
export interface AccountFacts extends AccountRow {
  readonly roles: string[];
  readonly groups: string[];
  readonly has_password: boolean;
  readonly second_factors: string[];
}

const ROLES = sql<string[]>`array(
  select role from role_binding b where b.account_id = account.account_id
  union select r.role from group_role r join group_member m using (group_name) where m.account_id = account.account_id
  order by 1)`;
/** The names of an account's groups. */
export const GROUPS = sql<string[]>`array(
  select group_name from group_member m where m.account_id = account.account_id order by 1)`;
const HAS_PASSWORD = sql<boolean>`exists(select from password p where p.account_id = account.account_id)`;
const SECOND_FACTORS = sql<string[]>`array(
  select 'totp' from totp t where t.account_id = account.account_id
  union select 'passkey' from passkey k where k.account_id = account.account_id order by 1)`;

/** Accounts with their roles, groups, and by what they come in. */
export function accountFacts(queries: Queries) {
  return queries
    .selectFrom("account")
    .selectAll()
    .select([
      ROLES.as("roles"),
      GROUPS.as("groups"),
      HAS_PASSWORD.as("has_password"),
      SECOND_FACTORS.as("second_factors"),
    ]);
}

/** The account of an id or login; undefined if there is none. */
export function findAccount(queries: Queries, name: string): Promise<AccountFacts | undefined> {
  return accountFacts(queries)
    .where(isUuid(name) ? "account_id" : "login", "=", name)
    .executeTakeFirst();
}

/** The account of an id or login. @throws HmsError NOT_FOUND if there is none, or not of that kind. */
export async function accountOf(queries: Queries, name: string, kind?: AccountRow["kind"]): Promise<AccountFacts> {
  const found = await findAccount(queries, name);
  if (found === undefined || (kind !== undefined && found.kind !== kind)) throw accountUnknown(name);
  return found;
}

/** Active people who hold a role, by themselves or by a group, and whether they have ever chosen a password. */
export async function activeHolders(queries: Queries, role: string): Promise<{ canSignIn: boolean }[]> {
  const { rows } = await sql<{ canSignIn: boolean }>`
    select ${HAS_PASSWORD} as "canSignIn" from account where active and kind = 'user' and (
      account_id in (select account_id from role_binding where role = ${role})
      or account_id in (select account_id from group_member join group_role using (group_name) where role = ${role}))`.execute(
    queries,
  );
  return rows;
}

/** Lets nobody else change who is admin until the transaction ends: the last one must stay. */
export async function lockAdmins(queries: Queries): Promise<void> {
  await sql`select from role where name = 'admin' for update`.execute(queries);
}
