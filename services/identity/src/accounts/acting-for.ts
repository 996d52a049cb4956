import type { CallContext, Principal } from "@hms/kernel";
import { beyondOwn, notYourRoles, notYours, whose } from "../errors.ts";
import type { Queries } from "../identity-tables.ts";
import type { Judge } from "../ports.ts";
import type { RoleBook } from "../roles/role-book.ts";
import { isUuid } from "../uuid.ts";
import { type AccountFacts, accountOf, findAccount } from "./account-store.ts";
import { visibleAccounts } from "./visible-accounts.ts";

/** Decides whose things a caller may touch, and what it may pass on. */
export interface ActingFor {
  /** The account of the caller. @throws HmsError INVALID_ARGUMENT if it has none here. */
  self(queries: Queries, principal: Principal): Promise<AccountFacts>;
  /**
   * The account that a request names, the caller's own if it names none.
   * @throws HmsError PERMISSION_DENIED if it is another's and the caller lacks `permission`, or a policy denies it.
   */
  target(queries: Queries, context: CallContext, asked: { name: string; permission: string }): Promise<AccountFacts>;
  /** @throws HmsError PERMISSION_DENIED if the roles permit something that the caller may not. */
  assertCovers(principal: Principal, roles: readonly string[]): void;
  /** @throws HmsError PERMISSION_DENIED if one of the permissions is not the caller's. */
  assertHolds(principal: Principal, permissions: Iterable<string>): void;
}

/** Makes one. */
export function createActingFor(judge: Judge, roles: RoleBook): ActingFor {
  const self = async (queries: Queries, { kind, id }: Principal) => {
    const account = (kind === "user" || kind === "service") && isUuid(id) ? await findAccount(queries, id) : undefined;
    if (account === undefined) throw whose();
    return account;
  };
  const assertHolds = (principal: Principal, permissions: Iterable<string>) => {
    const beyond = [...new Set(permissions)].filter((permission) => !judge.may(principal, permission));
    if (beyond.length > 0) throw beyondOwn(beyond);
  };
  return {
    self,
    assertHolds,
    async target(queries, context, { name, permission }) {
      const { principal } = context;
      if (name === "") return self(queries, principal);
      const mayAll = judge.may(principal, permission);
      // Who may not look at others does not learn either which of them exist.
      const account = mayAll ? await accountOf(queries, name) : await findAccount(queries, name);
      if (account === undefined || (account.account_id !== principal.id && !mayAll)) throw notYours(permission);
      // Policies name the login, whether the request named that or the id.
      if (!visibleAccounts(context).allows(account)) throw notYours(permission);
      return account;
    },
    assertCovers(principal, names) {
      assertHolds(
        principal,
        names.flatMap((name) => [...(roles.permissionsOf(name) ?? [])]),
      );
      // Policies may give a role more than its permissions: what that is worth only who has it can pass on.
      const { roles: own = [], scopes } = principal;
      const foreign = judge.may(principal, "*") ? [] : names.filter((name) => scopes || !own.includes(name));
      if (foreign.length > 0) throw notYourRoles(foreign);
    },
  };
}
