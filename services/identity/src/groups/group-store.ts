import { type Selectable, sql } from "kysely";
import { groupUnknown } from "../errors.ts";
import type { IdentityTables, Queries } from "../identity-tables.ts";

/** A group with members (logins) and roles. */
export type GroupFacts = Selectable<IdentityTables["account_group"]> & { members: string[]; roles: string[] };

/** Groups with members and roles. */
export function groupFacts(queries: Queries) {
  return queries
    .selectFrom("account_group")
    .selectAll()
    .select([
      sql<string[]>`array(select login from group_member m join account using (account_id)
        where m.group_name = account_group.name order by 1)`.as("members"),
      sql<string[]>`array(select role from group_role r where r.group_name = account_group.name order by 1)`.as(
        "roles",
      ),
    ]);
}

/** A group. @throws HmsError NOT_FOUND if there is none of that name. */
export async function groupOf(queries: Queries, name: string): Promise<GroupFacts> {
  const found = await groupFacts(queries).where("name", "=", name).executeTakeFirst();
  if (found === undefined) throw groupUnknown(name);
  return found;
}

/** @throws HmsError NOT_FOUND if there is no group of that name. */
export async function assertGroup(queries: Queries, name: string): Promise<void> {
  await groupOf(queries, name);
}

/** A group's roles. */
export async function groupRoles(queries: Queries, name: string): Promise<string[]> {
  return (await groupOf(queries, name)).roles;
}

/** Ids of a group's members. */
export async function membersOf(queries: Queries, name: string): Promise<string[]> {
  const rows = await queries.selectFrom("group_member").select("account_id").where("group_name", "=", name).execute();
  return rows.map(({ account_id }) => account_id);
}
