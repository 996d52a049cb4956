import { create, type JsonObject } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { identityKeys, identityUsers } from "@hms/contracts";
import type { AccountFacts } from "./account-store.ts";

const { ACTIVE, DEACTIVATED } = identityUsers.AccountState;

/** A person as the contract tells of them. */
export function userMessage(account: AccountFacts): identityUsers.User {
  return create(identityUsers.UserSchema, {
    userId: account.account_id,
    login: account.login,
    displayName: account.display_name,
    email: account.email,
    emailVerified: account.email_verified_at !== null,
    state: account.active ? ACTIVE : DEACTIVATED,
    roles: account.roles,
    groups: account.groups,
    preferences: account.preferences as JsonObject,
    hasPassword: account.has_password,
    secondFactors: account.second_factors,
    createdAt: timestampFromDate(account.created_at),
    ...(account.last_sign_in_at === null ? {} : { lastSignInAt: timestampFromDate(account.last_sign_in_at) }),
  });
}

/** A service account as the contract tells of it. */
export function serviceAccountMessage(account: AccountFacts): identityKeys.ServiceAccount {
  const { account_id: accountId, login, display_name: displayName, active, roles, created_at } = account;
  return create(identityKeys.ServiceAccountSchema, {
    accountId,
    login,
    displayName,
    active,
    roles,
    createdAt: timestampFromDate(created_at),
  });
}
