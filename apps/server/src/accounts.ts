import { builtInRoles, type RoleBook, type RoleDefinition } from "@hms/authorization";
import { isWithinScopes, type Policy, type Principal, type ResourceFilter } from "@hms/kernel";
import type { AccountSource } from "@hms/local-access";
import type { AccountBook, IdentityService } from "@hms/service-identity";

type Known = Pick<AccountBook, "roles" | "current" | "named"> & Partial<Pick<IdentityService, "tokens">>;

const NOTHING: ResourceFilter = { where: { any: [] }, whereUnplaced: { any: [] }, allows: () => false };

/**
 * Who has an account and what roles permit; until the identity service is open, or in a process with a few parts its book
 * of accounts, nobody has one and there are the built-in roles.
 */
export class Accounts implements AccountSource, RoleBook {
  #identity: Known | undefined;
  readonly #followers: (() => void)[] = [];

  /** Asks this identity service from now on. */
  connect(identity: Known): void {
    this.#identity = identity;
    const changed = () => {
      for (const follower of this.#followers) follower();
    };
    identity.roles.follow(changed);
    changed();
  }

  get roles(): readonly RoleDefinition[] {
    return this.#identity?.roles.definitions ?? builtInRoles;
  }

  follow(changed: () => void): void {
    this.#followers.push(changed);
  }

  principalOf(token: string): Principal | undefined | Promise<Principal | undefined> {
    return this.#identity?.tokens?.principalOf(token);
  }

  /** The principal of an account as it is now, for work that outlives its call; undefined if it may not come in. */
  current(principal: Principal): Promise<Principal | undefined> {
    return this.#identity?.current(principal) ?? Promise.resolve(undefined);
  }

  /** Who is meant by "user:anna" or "service:ci", a login or an id; undefined if nobody, or nobody who may come in. */
  async named(text: string): Promise<Principal | undefined> {
    const at = text.indexOf(":");
    return this.#identity?.named(text.slice(0, at), text.slice(at + 1));
  }

  /** Whether somebody known holds a permission by a role, within the scopes of what was shown. */
  permits(principal: Principal, permission: string): boolean {
    const { kind, roles = [] } = principal;
    const isKnown = kind === "user" || kind === "service";
    return (
      isKnown && isWithinScopes(principal, permission) && this.#identity?.roles.permits(roles, permission) === true
    );
  }

  /** A policy that allows what another does, but nothing beyond the scopes of what the caller has shown. */
  limiting(policy: Policy): Policy {
    return {
      decide: (question) => {
        const { principal, permission } = question;
        if (isWithinScopes(principal, permission)) return policy.decide(question);
        return { allowed: false, reason: `the key or token shown is limited to ${principal.scopes?.join(", ")}` };
      },
      ...(policy.filter ? { filter: (question) => this.#filter(policy, question) } : {}),
    };
  }

  #filter(policy: Policy, question: Parameters<NonNullable<Policy["filter"]>>[0]): ResourceFilter {
    const { principal, permission } = question;
    return isWithinScopes(principal, permission) && policy.filter ? policy.filter(question) : NOTHING;
  }
}
