import { identityRoles } from "@hms/contracts";
import { type CallContext, HmsError, implement, principalName, type ServiceRegistration } from "@hms/kernel";
import type { Selectable } from "kysely";
import { accountOf } from "../accounts/account-store.ts";
import { assertRoles, bindRoles } from "../accounts/create-account.ts";
import { accountFor } from "../accounts/visible-accounts.ts";
import { invalid, rolesUnknown } from "../errors.ts";
import { assertGroup, groupRoles, membersOf } from "../groups/group-store.ts";
import type { IdentityTables, Queries } from "../identity-tables.ts";
import { visibleByName } from "../named-things.ts";
import type { ServiceGround } from "../service-ground.ts";
import { unknownPermissions } from "./known-permissions.ts";
import { keepingAnAdmin } from "./last-admin.ts";

const roleMessage = ({ name, description, permissions, built_in }: Selectable<IdentityTables["role"]>) => ({
  name,
  description,
  permissions,
  builtIn: built_in,
});

/** Names that principals of deployed services have. */
const RESERVED = new Set(["service"]);

/** Roles and who holds them, by hms.identity.v1.RoleService. */
export function createRoleService(ground: ServiceGround): ServiceRegistration {
  const { database, changes, roles: book, actingFor } = ground;
  const told = async () => {
    await book.reload();
    await changes.tell("roles");
  };
  return implement(identityRoles.RoleService, {
    async listRoles(_, context) {
      const visible = visibleByName(context, "name");
      const found = await database.db.selectFrom("role").selectAll().where(visible.where).orderBy("name").execute();
      return { roles: found.filter(visible.allows).map(roleMessage) };
    },
    async putRole({ name, description, permissions }, { principal }) {
      if (RESERVED.has(name)) throw reserved(name);
      const kept = [...new Set(permissions)].sort();
      const wrong = unknownPermissions("permissions", kept, ground.permissions());
      if (wrong.length > 0) throw invalid(wrong);
      actingFor.assertHolds(principal, [...kept, ...(book.permissionsOf(name) ?? [])]);
      if (name === "admin" && !kept.includes("*")) throw adminIsAll();
      const row = await database.db
        .insertInto("role")
        .values({ name, description, permissions: kept })
        .onConflict((conflict) => conflict.column("name").doUpdateSet({ description, permissions: kept }))
        .returningAll()
        .executeTakeFirstOrThrow();
      await told();
      return { role: roleMessage(row) };
    },
    async deleteRole({ name }, { principal }) {
      const row = await database.db.selectFrom("role").selectAll().where("name", "=", name).executeTakeFirst();
      if (row === undefined) throw rolesUnknown([name]);
      if (row.built_in) throw builtIn(name);
      actingFor.assertHolds(principal, row.permissions);
      await database.db.deleteFrom("role").where("name", "=", name).execute();
      await told();
      return {};
    },
    assignRoles: ({ holder, roles }, context) => assign(ground, { holder, roles, context }),
    unassignRoles: ({ holder, roles }, context) => unassign(ground, { holder, roles, context }),
  });
}

interface Assignment {
  holder: string;
  roles: readonly string[];
  context: CallContext;
}

const groupOf = (holder: string) => (holder.startsWith("group:") ? holder.slice("group:".length) : undefined);

async function assign(ground: ServiceGround, { holder, roles, context }: Assignment): Promise<{ roles: string[] }> {
  const { database, changes, actingFor } = ground;
  const { principal } = context;
  actingFor.assertCovers(principal, roles);
  const group = groupOf(holder);
  const { now, accounts } = await database.transaction(async (queries) => {
    if (group !== undefined) {
      await assertGroup(queries, group);
      await assertRoles(queries, roles);
      const rows = [...new Set(roles)].map((role) => ({ group_name: group, role }));
      await queries
        .insertInto("group_role")
        .values(rows)
        .onConflict((conflict) => conflict.doNothing())
        .execute();
      return { now: await groupRoles(queries, group), accounts: await membersOf(queries, group) };
    }
    const { account_id: accountId } = await accountFor(queries, context, { name: holder });
    await bindRoles(queries, { accountId, roles, boundBy: principalName(principal) });
    return { now: (await accountOf(queries, accountId)).roles, accounts: [accountId] };
  });
  await changes.tell(...accounts.map((account) => ({ account })));
  return { roles: now };
}

async function unassign(ground: ServiceGround, { holder, roles, context }: Assignment): Promise<{ roles: string[] }> {
  const { database, changes, actingFor } = ground;
  actingFor.assertCovers(context.principal, roles);
  const group = groupOf(holder);
  const { now, accounts } = await database.transaction(async (queries) => {
    return keepingAnAdmin(queries, () => takeRoles(queries, context, { holder, group, roles: [...roles] }));
  });
  await changes.tell(...accounts.map((account) => ({ account })));
  return { roles: now };
}

async function takeRoles(
  queries: Queries,
  context: CallContext,
  { holder, group, roles }: { holder: string; group: string | undefined; roles: string[] },
) {
  if (group !== undefined) {
    await assertGroup(queries, group);
    await queries.deleteFrom("group_role").where("group_name", "=", group).where("role", "in", roles).execute();
    return { now: await groupRoles(queries, group), accounts: await membersOf(queries, group) };
  }
  const { account_id: accountId } = await accountFor(queries, context, { name: holder });
  await queries.deleteFrom("role_binding").where("account_id", "=", accountId).where("role", "in", roles).execute();
  return { now: (await accountOf(queries, accountId)).roles, accounts: [accountId] };
}

function reserved(name: string): HmsError {
  const message = `"${name}" is what every deployed service has; choose another name.`;
  return new HmsError("INVALID_ARGUMENT", message, { fieldViolations: [{ field: "name", description: message }] });
}

function builtIn(name: string): HmsError {
  return new HmsError("FAILED_PRECONDITION", `"${name}" is built in; change its permissions instead.`, {
    reason: "ROLE_BUILT_IN",
  });
}

function adminIsAll(): HmsError {
  const message = 'The role admin keeps the permission "*": otherwise nobody could give it back.';
  return new HmsError("FAILED_PRECONDITION", message, { reason: "ROLE_BUILT_IN" });
}
