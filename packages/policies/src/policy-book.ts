import { HmsError } from "@hms/kernel";
import type { AccessRule } from "./access-rule.ts";
import { PolicySet } from "./policy-set.ts";
import { takenAway } from "./taken-away.ts";

/** Where policies come from. */
export type PolicyOrigin = "file" | "stored";

/** All policies in force, of the file and stored; replaced as wholes, so that a decision never sees half a change. */
export class PolicyBook {
  readonly #origins = new Map<PolicyOrigin, readonly AccessRule[]>();
  #current: PolicySet | undefined;

  /**
   * The policies in force.
   * @throws HmsError UNAVAILABLE until both origins have been read: a denial might be missing.
   */
  get current(): PolicySet {
    if (this.#current !== undefined) return this.#current;
    throw new HmsError("UNAVAILABLE", "The access policies are still being read. Call again in a moment.", {
      reason: "POLICIES_NOT_READ",
      retryAfterMs: 500,
    });
  }

  /** The rules of one origin; none until it has been read. */
  rulesOf(origin: PolicyOrigin): readonly AccessRule[] {
    return this.#origins.get(origin) ?? [];
  }

  /**
   * Puts the rules of one origin in force. The answer: the services, as patterns of ids, of which somebody may call less
   * than before; tickets for them are to be revoked.
   */
  replace(origin: PolicyOrigin, rules: readonly AccessRule[]): string[] {
    const before = this.#origins.get(origin);
    this.#origins.set(origin, rules);
    if (this.#origins.size < 2) return [];
    this.#current = new PolicySet([...this.#origins.values()].flat());
    return before === undefined ? [] : takenAway(before, rules);
  }
}
