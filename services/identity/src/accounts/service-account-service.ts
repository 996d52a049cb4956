import { identityKeys } from "@hms/contracts";
import { type CallContext, implement, principalName, type ServiceRegistration } from "@hms/kernel";
import { newSecret, sha256 } from "../secret-digest.ts";
import type { ServiceGround } from "../service-ground.ts";
import { serviceAccountMessage } from "./account-message.ts";
import { accountFacts, accountOf } from "./account-store.ts";
import { setActive } from "./activity.ts";
import { createAccount } from "./create-account.ts";
import { accountFor, visibleAccounts } from "./visible-accounts.ts";

/** Accounts of programs, by hms.identity.v1.ServiceAccountService. */
export function createServiceAccountService(ground: ServiceGround): ServiceRegistration {
  const { database, actingFor, changes } = ground;
  const activity = (active: boolean) => async (request: { account: string }, context: CallContext) => {
    await setActive(ground, context, { name: request.account, kind: "service", active });
    return {};
  };
  return implement(identityKeys.ServiceAccountService, {
    async createServiceAccount({ login, displayName, roles }, { principal }) {
      actingFor.assertCovers(principal, roles);
      const clientSecret = newSecret();
      const createdBy = principalName(principal);
      const terms = {
        kind: "service",
        login,
        displayName,
        roles,
        createdBy,
        clientSecretSha256: sha256(clientSecret),
      } as const;
      const accountId = await database.transaction((queries) => createAccount(queries, terms));
      return { account: serviceAccountMessage(await accountOf(database.db, accountId)), clientSecret };
    },
    async listServiceAccounts(_, context) {
      const visible = visibleAccounts(context);
      const all = accountFacts(database.db).where("kind", "=", "service").where(visible.where);
      const found = await all.orderBy("login").execute();
      return { accounts: found.filter(visible.allows).map(serviceAccountMessage) };
    },
    async rotateClientSecret({ account }, context) {
      const found = await accountFor(database.db, context, { name: account, kind: "service" });
      actingFor.assertCovers(context.principal, found.roles);
      const clientSecret = newSecret();
      await database.db
        .updateTable("account")
        .set({ client_secret_sha256: sha256(clientSecret) })
        .where("account_id", "=", found.account_id)
        .execute();
      await changes.tell({ account: found.account_id });
      return { clientSecret };
    },
    deactivateServiceAccount: activity(false),
    activateServiceAccount: activity(true),
  });
}
