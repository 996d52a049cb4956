import { identityRoles } from "@hms/contracts";
import { implement, type ServiceRegistration } from "@hms/kernel";
import { accountOf } from "../accounts/account-store.ts";
import type { Queries } from "../identity-tables.ts";
import { visibleByName } from "../named-things.ts";
import { keepingAnAdmin } from "../roles/last-admin.ts";
import type { ServiceGround } from "../service-ground.ts";
import { groupFacts, groupOf, membersOf } from "./group-store.ts";

const idsOf = (queries: Queries, names: readonly string[]) =>
  Promise.all(names.map(async (name) => (await accountOf(queries, name)).account_id));

/** Groups and their members, by hms.identity.v1.GroupService. */
export function createGroupService({ database, changes, actingFor }: ServiceGround): ServiceRegistration {
  const tell = (accounts: readonly string[]) => changes.tell(...accounts.map((account) => ({ account })));
  return implement(identityRoles.GroupService, {
    async listGroups(_, context) {
      const visible = visibleByName(context, "name");
      const found = await groupFacts(database.db).where(visible.where).orderBy("name").execute();
      return { groups: found.filter(visible.allows) };
    },
    async putGroup({ name, description }) {
      await database.db
        .insertInto("account_group")
        .values({ name, description })
        .onConflict((conflict) => conflict.column("name").doUpdateSet({ description }))
        .execute();
      return { group: await groupOf(database.db, name) };
    },
    async deleteGroup({ name }, { principal }) {
      const accounts = await database.transaction(async (queries) => {
        actingFor.assertCovers(principal, (await groupOf(queries, name)).roles);
        const members = await membersOf(queries, name);
        await keepingAnAdmin(queries, () => queries.deleteFrom("account_group").where("name", "=", name).execute());
        return members;
      });
      await tell(accounts);
      return {};
    },
    async addGroupMembers({ name, members }, { principal }) {
      const accounts = await database.transaction(async (queries) => {
        // Whoever joins gets the group's roles.
        actingFor.assertCovers(principal, (await groupOf(queries, name)).roles);
        const ids = await idsOf(queries, members);
        const rows = ids.map((account_id) => ({ group_name: name, account_id }));
        await queries
          .insertInto("group_member")
          .values(rows)
          .onConflict((conflict) => conflict.doNothing())
          .execute();
        return ids;
      });
      await tell(accounts);
      return { group: await groupOf(database.db, name) };
    },
    async removeGroupMembers({ name, members }, { principal }) {
      const accounts = await database.transaction(async (queries) => {
        actingFor.assertCovers(principal, (await groupOf(queries, name)).roles);
        const ids = await idsOf(queries, members);
        const ofThese = queries
          .deleteFrom("group_member")
          .where("group_name", "=", name)
          .where("account_id", "in", ids);
        await keepingAnAdmin(queries, () => ofThese.execute());
        return ids;
      });
      await tell(accounts);
      return { group: await groupOf(database.db, name) };
    },
  });
}
