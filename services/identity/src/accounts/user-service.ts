import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { identityUsers } from "@hms/contracts";
import { type CallContext, implement, principalName, type ServiceRegistration } from "@hms/kernel";
import { invalid } from "../errors.ts";
import { forgetFactors } from "../factors/factor-facts.ts";
import type { ServiceGround } from "../service-ground.ts";
import { userMessage } from "./account-message.ts";
import { accountFacts, accountOf } from "./account-store.ts";
import { setActive } from "./activity.ts";
import { createAccount } from "./create-account.ts";
import { createLink } from "./link-store.ts";
import { listPeople } from "./list-people.ts";
import { endSessions } from "./take-away.ts";

type Changeable = "display_name" | "email" | "preferences";

const MOST_PREFERENCES_BYTES = 16 * 1024;

/** People, by hms.identity.v1.UserService. */
export function createUserService(ground: ServiceGround): ServiceRegistration {
  const { database, actingFor } = ground;
  const change = async (accountId: string, fields: Partial<Record<Changeable, string>>) => {
    if (Object.keys(fields).length > 0) {
      await database.db.updateTable("account").set(fields).where("account_id", "=", accountId).execute();
    }
    return { user: userMessage(await accountOf(database.db, accountId)) };
  };
  const link = async (purpose: "invitation" | "reset", user: string, { principal }: CallContext) => {
    const account = await accountOf(database.db, user, "user");
    // Who holds the link becomes that person.
    actingFor.assertCovers(principal, account.roles);
    const made = await database.transaction((queries) => createLink(queries, purpose, account.account_id));
    const address = `${ground.origin}/sign-in/password?token=${made.token}`;
    return { link: address, expiresAt: timestampFromDate(made.expiresAt) };
  };
  const activity =
    (active: boolean) =>
    async (request: { user: string }, { principal }: CallContext) => {
      const account = await setActive(ground, { name: request.user, kind: "user", active, principal });
      return { user: userMessage(account) };
    };
  return implement(identityUsers.UserService, {
    async createUser({ login, displayName, email, roles }, { principal }) {
      const given = roles.length === 0 ? ["viewer"] : roles;
      actingFor.assertCovers(principal, given);
      const terms = {
        kind: "user",
        login,
        displayName,
        email,
        roles: given,
        createdBy: principalName(principal),
      } as const;
      const accountId = await database.transaction((queries) => createAccount(queries, terms));
      ground.onSetUp();
      return { user: userMessage(await accountOf(database.db, accountId)) };
    },
    getUser: async ({ user }) => ({ user: userMessage(await accountOf(database.db, user, "user")) }),
    async listUsers({ query, pageSize, pageToken }) {
      const { accounts, nextPageToken } = await listPeople(accountFacts(database.db), { query, pageSize, pageToken });
      return { users: accounts.map(userMessage), nextPageToken };
    },
    async updateUser({ user, displayName, email, updateMask }, { principal }) {
      const account = await accountOf(database.db, user, "user");
      actingFor.assertCovers(principal, account.roles);
      return change(account.account_id, masked({ display_name: displayName, email }, updateMask));
    },
    deactivateUser: activity(false),
    activateUser: activity(true),
    createInvitation: ({ user }, context) => link("invitation", user, context),
    createResetLink: ({ user }, context) => link("reset", user, context),
    async resetSecondFactors({ user }, { principal }) {
      const account = await accountOf(database.db, user, "user");
      // Who may do this, and change the password, becomes that person.
      actingFor.assertCovers(principal, account.roles);
      await database.transaction(async (queries) => {
        await forgetFactors(queries, account.account_id);
        await endSessions(queries, account.account_id);
      });
      await ground.changes.tell({ account: account.account_id });
      return { user: userMessage(await accountOf(database.db, account.account_id)) };
    },
    async updateProfile({ displayName, email, preferences, updateMask }, { principal }) {
      const account = await actingFor.self(database.db, principal);
      const text = JSON.stringify(preferences ?? {});
      if (Buffer.byteLength(text) > MOST_PREFERENCES_BYTES) {
        throw invalid([{ field: "preferences", description: "must be at most 16 KiB of JSON." }]);
      }
      const given = { display_name: displayName, email, preferences: preferences === undefined ? "" : text };
      return change(account.account_id, masked(given, updateMask));
    },
  });
}

/** The fields that a mask names; without one, those that are not empty. */
function masked(given: Partial<Record<Changeable, string>>, mask: FieldMask | undefined) {
  const names = mask?.paths ?? Object.keys(given).filter((name) => given[name as Changeable] !== "");
  const wrong = names.filter((name) => given[name as Changeable] === undefined);
  if (wrong.length > 0) {
    const possible = Object.keys(given).join(", ");
    throw invalid([
      { field: "update_mask", description: `cannot name ${wrong.join(", ")}; possible are ${possible}.` },
    ]);
  }
  return Object.fromEntries(names.map((name) => [name, given[name as Changeable] || emptyOf(name)]));
}

const emptyOf = (name: string) => (name === "preferences" ? "{}" : "");
