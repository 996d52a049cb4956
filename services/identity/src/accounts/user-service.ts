import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { identityUsers } from "@hms/contracts";
import { type CallContext, implement, principalName, type ServiceRegistration } from "@hms/kernel";
import { forgetFactors } from "../factors/factor-facts.ts";
import { forgetPassword } from "../passwords/password-store.ts";
import type { ServiceGround } from "../service-ground.ts";
import { userMessage } from "./account-message.ts";
import { accountFacts, accountOf } from "./account-store.ts";
import { setActive } from "./activity.ts";
import { changeAccount } from "./change-account.ts";
import { createAccount } from "./create-account.ts";
import { listPeople } from "./list-people.ts";
import { checkedAddress } from "./mail-address.ts";
import { makePersonalLink } from "./personal-link.ts";
import { profileMethods } from "./profile-methods.ts";
import { assertFresh } from "./step-up.ts";
import { endSessions } from "./take-away.ts";
import { accountFor } from "./visible-accounts.ts";

type AskedLink = { readonly user: string; readonly print: boolean };

/** People, by hms.identity.v1.UserService. */
export function createUserService(ground: ServiceGround): ServiceRegistration {
  const { database, actingFor } = ground;
  const personOf = (name: string, context: CallContext) => accountFor(database.db, context, { name, kind: "user" });
  const link = async (purpose: "invitation" | "reset", { user, print }: AskedLink, context: CallContext) => {
    const { principal } = context;
    const account = await personOf(user, context);
    // Who holds the link becomes that person.
    actingFor.assertCovers(principal, account.roles);
    if (account.account_id === principal.id) assertFresh(principal);
    const { expiresAt, ...made } = await makePersonalLink(ground, account, { purpose, print });
    return { ...made, expiresAt: timestampFromDate(expiresAt) };
  };
  const activity = (active: boolean) => async (request: { user: string }, context: CallContext) => {
    const account = await setActive(ground, context, { name: request.user, kind: "user", active });
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
        email: checkedAddress(email),
        roles: given,
        createdBy: principalName(principal),
      } as const;
      const accountId = await database.transaction((queries) => createAccount(queries, terms));
      ground.onSetUp();
      return { user: userMessage(await accountOf(database.db, accountId)) };
    },
    getUser: async ({ user }, context) => ({ user: userMessage(await personOf(user, context)) }),
    async listUsers(request, context) {
      const { accounts, nextPageToken } = await listPeople(accountFacts(database.db), request, context);
      return { users: accounts.map(userMessage), nextPageToken };
    },
    async updateUser({ user, displayName, email, updateMask }, context) {
      const { principal } = context;
      const account = await personOf(user, context);
      actingFor.assertCovers(principal, account.roles);
      const change = { given: { display_name: displayName, email }, mask: updateMask, principal };
      return { user: userMessage(await changeAccount(ground, account, change)) };
    },
    deactivateUser: activity(false),
    activateUser: activity(true),
    createInvitation: (request, context) => link("invitation", request, context),
    createResetLink: (request, context) => link("reset", request, context),
    async resetSecondFactors({ user }, context) {
      const { principal } = context;
      const account = await personOf(user, context);
      // Who may do this, and change the password, becomes that person.
      actingFor.assertCovers(principal, account.roles);
      if (account.account_id === principal.id) assertFresh(principal);
      await database.transaction(async (queries) => {
        await forgetFactors(queries, account.account_id);
        // Who they are is shown as it was when the account began: by a link that is handed or mailed to them.
        await forgetPassword(queries, account.account_id);
        await endSessions(queries, account.account_id);
      });
      ground.mail.tell(
        account.account_id,
        "Your password and what is asked for beside it were taken away; you choose a new one by a link",
      );
      await ground.changes.tell({ account: account.account_id });
      return { user: userMessage(await accountOf(database.db, account.account_id)) };
    },
    ...profileMethods(ground),
  });
}
