import type { Policy, PolicyQuestion, Principal } from "@hms/kernel";
import type { AccountSource } from "@hms/local-access";
import type { AccountBook, IdentityService } from "@hms/service-identity";

type Known = Pick<AccountBook, "roles" | "current"> & Partial<Pick<IdentityService, "tokens">>;

/**
 * Who has an account and what roles permit; knows nobody until the identity service is open, or in a process with a few
 * parts its book of accounts.
 */
export class Accounts implements AccountSource {
  #identity: Known | undefined;

  /** Asks this identity service from now on. */
  connect(identity: Known): void {
    this.#identity = identity;
  }

  principalOf(token: string): Principal | undefined | Promise<Principal | undefined> {
    return this.#identity?.tokens?.principalOf(token);
  }

  /** The principal of an account as it is now, for work that outlives its call; undefined if it may not come in. */
  current(principal: Principal): Promise<Principal | undefined> {
    return this.#identity?.current(principal) ?? Promise.resolve(undefined);
  }

  /** Whether somebody known holds a permission by a role, within the scopes of what was shown. */
  permits({ kind, roles = [], scopes }: Principal, permission: string): boolean {
    const isKnown = kind === "user" || kind === "service";
    return isKnown && isWithin(scopes, permission) && this.#identity?.roles.permits(roles, permission) === true;
  }

  /** A policy that allows what `own` does, and what the caller's roles permit; never beyond its scopes. */
  judging(own: Policy): Policy {
    return {
      decide: (question: PolicyQuestion) => {
        const { principal, permission } = question;
        if (!isWithin(principal.scopes, permission)) {
          return { allowed: false, reason: `the key or token shown is limited to ${principal.scopes?.join(", ")}` };
        }
        return this.permits(principal, permission) ? { allowed: true } : own.decide(question);
      },
    };
  }
}

function isWithin(scopes: Principal["scopes"], permission: string): boolean {
  return scopes === undefined || scopes.includes(permission) || scopes.includes("*");
}
